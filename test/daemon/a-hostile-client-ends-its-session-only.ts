/*
 * Local clients that are faulty, or killed. Stock trusts local clients: if one of them
 * stops in the middle of its request, the watchdog ends the process with all sessions.
 */

import {open} from 'node:fs/promises';
import {createServer} from 'node:net';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import type {Fd, Seconds} from '../../src/base/units.ts';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon, type Handoff, statusOf} from '../helpers/daemon.ts';
import {socketPair} from '../helpers/descriptors.ts';
import {CertificateStore, connectTo} from '../helpers/openssl.ts';
import {echoPeer, peerFiles, tcpPeer, tlsPeer} from '../helpers/remote-servers.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
const good = peerFiles();

/* One process has to serve more sessions than by default. */
let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('ours', {main: {max_use: '10000'}});
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

async function stillServes(t: ExecutionContext, {client}: Handoff): Promise<void> {
	await client.send('still there?');
	t.is(String(await client.bytes(12)), 'still there?');
}

/** The behavior of a client until its session ends. */
type Behavior = (t: ExecutionContext, client: LocalClient) => Promise<void>;

/* Runs hostile sessions while another session is served. Returns their warnings. */
async function run(t: ExecutionContext, behave: Behavior): Promise<readonly string[]> {
	const witness = await daemon.handOff(t, await echoPeer(t));
	const {pid} = daemon;
	const before = daemon.descriptors();
	const logged = (await daemon.lines()).length;
	await behave(t, await daemon.greeted(t));
	t.true((await daemon.descriptorsUpTo(before)) <= before, 'descriptors leak');
	t.is(daemon.pid, pid);
	await stillServes(t, witness);
	/* postlogd(8) preserves the order of the lines of one process. */
	witness.client.socket.end();
	await daemon.linesOf(witness);
	return (await daemon.lines()).slice(logged).filter(line => line.startsWith('warning: '));
}

const warns = test.macro<[behavior: string, behave: Behavior, warning: string | RegExp]>({
	async exec(t, _, behave, warning) {
		const warnings = await run(t, async (report, client) => {
			await behave(report, client);
			t.is(String(await client.rest()), '');
		});
		/* After a protocol error, a hint for the administrator may follow. */
		const [text = '', ...others] = warnings.filter(line => !hint.test(line));
		t.deepEqual(others, []);
		if (typeof warning === 'string') {
			t.is(text, `warning: tlsp_get_request_event: ${warning}`);
		} else {
			t.regex(text, warning);
		}
	},
	title(_, behavior) {
		return `a client that ${behavior} ends only its session, with a warning`;
	},
});

/** Logged when a request does not have the format of the installed release. */
const hint =
	/^warning: the client does not use the protocol of Postfix \S+, .*: after an upgrade, run "postfix reload"$/;

const endpoint = '[192.0.2.1]:25';
const format = (): string => daemon.features.format;
const both = (): readonly [Uint8Array, Uint8Array] => daemon.messages(endpoint);
const briefly = (): readonly [Uint8Array, Uint8Array] =>
	daemon.messages(endpoint, {request: {handshakeTimeout: 1 as Seconds}});
const request = (): Uint8Array => both()[0];
const settings = (): Uint8Array => both()[1];

test.serial(
	warns,
	'stops in the middle of its request',
	async (_, client) => await client.send(request().subarray(0, 20)),
	'receive request attributes: Connection timed out',
);
test.serial(
	warns,
	'sends its request byte by byte',
	async (_, client) => {
		for (const byte of request()) {
			if (client.ended) {
				break;
			}

			await client.send(Uint8Array.of(byte));
			await delay(400);
		}
	},
	'receive request attributes: Connection timed out',
);
test.serial(
	warns,
	'stops in the middle of its settings',
	async (_, client) => {
		await client.send(request());
		await client.send(settings().subarray(0, 500));
	},
	/^warning: tlsp_get_request_event: receive client TLS settings: Connection timed out$/,
);
test.serial(
	warns,
	'sends a megabyte in one attribute',
	async (_, client) => {
		await client.send(`remote_endpoint\0${'x'.repeat(1_048_576)}\0\0`);
	},
	'receive request attributes: attribute name or value exceeds 65536 bytes',
);
test.serial(
	warns,
	'sends a megabyte without an end',
	async (_, client) => {
		await client.send(Buffer.alloc(1_048_576, 'x'));
	},
	'receive request attributes: attribute name or value exceeds 65536 bytes',
);
test.serial(
	warns,
	'sends a million attributes',
	async (_, client) => {
		await client.send('a\0b\0'.repeat(1_000_000));
	},
	'receive request attributes: attribute list exceeds 1048576 bytes or 4096 attributes',
);
test.serial(
	warns,
	'sends a megabyte in its settings',
	async (_, client) => {
		await client.send(request());
		await client.send(`config_file\0${'x'.repeat(1_048_576)}\0\0`);
	},
	'receive client TLS settings: attribute name or value exceeds 65536 bytes',
);
test.serial(
	warns,
	'speaks SMTP',
	async (_, client) => await client.send('EHLO client.example\r\n\0\0\0'),
	/^warning: tlsp_get_request_event: receive request attributes: request: wanted "remote_endpoint", got "EHLO client\.example\?+" \(format /,
);
test.serial(
	warns,
	'sends an invalid number',
	async (_, client) => await client.send('remote_endpoint\0x\0flags\0six\0\0'),
	'receive request attributes: request: flags: "six" is not a number',
);
test.serial(
	warns,
	'sends data after its settings',
	async (_, client) => await client.send(Buffer.concat([...both(), Buffer.from('QUIT\r\n')])),
	'receive client TLS settings: 6 bytes after the request',
);
test.serial('for a client of another release, attribute and format are logged', async t => {
	const warnings = await run(t, async (_, client) => {
		await client.send(request());
		await client.send('config_file\0default\0tls_new_in_release_4\0\0\0');
		t.is(String(await client.rest()), '');
	});
	const [text = '', second = '', ...others] = warnings;
	t.regex(text, /receive client TLS settings: client_params: wanted "\w+", got "\w+" \(format [\d.]+\)$/);
	t.true(text.endsWith(`(format ${format()})`));
	t.regex(second, hint);
	t.true(second.includes(`Postfix ${daemon.features.release},`));
	t.deepEqual(others, []);
});

/* A client that receives status 1 and then calls a function. */
function passes(pass: (t: ExecutionContext, client: LocalClient) => Promise<void> | void): Behavior {
	return async (t, client) => {
		await client.send(Buffer.concat(both()));
		t.is(statusOf(await client.list()), 1);
		await pass(t, client);
	};
}

const descriptorError = (reason: string): RegExp =>
	new RegExp(`^warning: tlsp_get_fd_event: receive remote SMTP peer file descriptor: ${reason}$`);

test.serial(
	warns,
	'sends a byte and no descriptor',
	passes(async (_, client) => await client.send(Uint8Array.of(0))),
	descriptorError('data without a descriptor'),
);
test.serial(
	warns,
	'passes two descriptors',
	passes(async (t, client) => {
		const port = await tcpPeer(t, () => undefined);
		client.pass(connectTo(t, port).value, connectTo(t, port).value);
	}),
	descriptorError('more than one descriptor'),
);
test.serial(
	warns,
	'passes twenty descriptors',
	passes(async (t, client) => {
		const port = await tcpPeer(t, () => undefined);
		const fd = connectTo(t, port).value;
		client.pass(fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd, fd);
	}),
	descriptorError('more than one descriptor'),
);
test.serial(
	warns,
	'disconnects instead of passing a descriptor',
	passes((_, client) => {
		client.socket.end();
	}),
	descriptorError('Connection closed by client'),
);

/* Descriptors that are not sockets. */
for (const [what, path, flags] of [
	['a file', '/etc/passwd', 'r'],
	['a device', '/dev/zero', 'r'],
	['a directory', '/', 'r'],
] as const) {
	test.serial(
		warns,
		`passes ${what}`,
		passes(async (_, client) => {
			const file = await open(path, flags);
			client.pass(file.fd as Fd);
			await file.close();
		}),
		/^warning: session \[192\.0\.2\.1\]:25: epoll_ctl: Operation not permitted$/,
	);
}

test.serial(
	'a client that passes one end of a socket pair, and closes both, ends only its session',
	async t => {
		const warnings = await run(t, async (report, client) => {
			const [kept, passed] = socketPair(report);
			await client.send(Buffer.concat(both()));
			t.is(statusOf(await client.list()), 1);
			client.pass(passed.fd);
			passed.close();
			kept.close();
			t.is(String(await client.rest()), '');
		});
		t.deepEqual(warnings, []);
	},
);

/* No data arrives on such a socket: the handshake time limit ends the session. */
test.serial('a client that passes its connection to tlsproxy ends only its session', async t => {
	await run(t, async (_, client) => {
		await client.send(Buffer.concat(briefly()));
		t.is(statusOf(await client.list()), 1);
		client.pass(client.fd);
		t.is(String(await client.rest()), '');
	});
});

test.serial('a client that passes a listening socket ends only its session', async t => {
	await run(t, async (report, client) => {
		const server = createServer().listen(join(store.directory, 'listener'));
		report.teardown(() => server.close());
		await client.send(Buffer.concat(briefly()));
		t.is(statusOf(await client.list()), 1);
		client.pass((server as unknown as {_handle: {fd: Fd}})._handle.fd);
		t.is(String(await client.rest()), '');
	});
});

test.serial('clients that disconnect after any number of bytes leak nothing', async t => {
	const bytes = Buffer.concat(both());
	const cuts = [0, 1, 2, 15, 16, 17, request().length - 1, request().length, request().length + 1];
	for (let cut = 40; cut < bytes.length; cut += 53) {
		cuts.push(cut);
	}

	const warnings = await run(t, async (report, first) => {
		first.socket.destroy();
		for (const cut of cuts) {
			const client = await daemon.greeted(report);
			await client.send(bytes.subarray(0, cut));
			client.socket.destroy();
		}
	});
	/* A client that disconnects without data is not logged. */
	t.true(warnings.length >= cuts.length - 1);
	t.true(
		warnings.every(text =>
			/^warning: tlsp_get_request_event: receive (request attributes|client TLS settings): Connection closed by client$/.test(
				text,
			),
		),
		warnings.join('\n'),
	);
});

test.serial('clients that disconnect at any moment of a handshake leak nothing', async t => {
	const port = await echoPeer(t);
	await run(t, async (report, first) => {
		first.socket.destroy();
		for (let pause = 0; pause < 20; pause++) {
			const client = await daemon.greeted(report);
			const fd = connectTo(report, port);
			await client.send(Buffer.concat(both()));
			await client.list();
			client.pass(fd.value);
			fd[Symbol.dispose]();
			if (pause > 0) {
				await delay(pause / 2);
			}

			client.socket.destroy();
		}
	});
});

test.serial('clients that disconnect during data transfer leak nothing', async t => {
	const port = await tlsPeer(t, good, socket => {
		const timer = setInterval(() => socket.write(Buffer.alloc(100_000)), 1);
		socket.resume();
		socket.once('close', () => clearInterval(timer));
	});
	await run(t, async (report, first) => {
		first.socket.destroy();
		for (let pause = 0; pause < 10; pause++) {
			const {client} = await daemon.handOff(report, port);
			client.socket.write(Buffer.alloc(1_000_000));
			await delay(pause);
			client.socket.destroy();
		}
	});
});
