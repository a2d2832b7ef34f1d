/*
 * A returning client may be served by another process, or by another program. Three services
 * share one tlsmgr(8): two with the program under test, and one with stock.
 */
import {once} from 'node:events';
import {chmodSync} from 'node:fs';
import {createServer, type Server} from 'node:net';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {AttributeFramer, printList} from '../../src/wire/attribute-list.ts';
import {Daemon} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';
import {visitService} from '../helpers/server-role-cases.ts';

const lab = makeLab();
/* Seconds in which a key encrypts tickets, and further seconds in which it decrypts them: enough for five visits. */
const ISSUES = 6;
const TIMEOUT = 16;

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('ours', {
		main: {
			max_use: '100000',
			max_idle: '300s',
			smtp_tls_security_level: 'none',
			smtpd_tls_security_level: 'may',
			smtpd_tls_chain_files: lab.path('good.pem'),
			smtpd_tls_session_cache_database: 'btree:${data_directory}/smtpd_scache',
			smtpd_tls_loglevel: 'cache',
		},
		services: [
			'stock unix - - n - 0 tlsproxy',
			...['-tls1_3', '-tls1_2'].map(
				args => `stock-keys${args} unix - - n - 0 tlsproxy\n  -o tlsmgr_service_name=keyserver`,
			),
		],
		copies: {
			second: {},
			...Object.fromEntries(
				[
					'our-keys-tls1_3',
					'our-keys-tls1_2',
					'late-keys-tls1_3',
					'late-keys-tls1_2',
					'few-keys',
					'dead-keys',
				].map(name => [name, {tlsmgr_service_name: 'keyserver'}]),
			),
		},
	});
});
test.after.always(async () => {
	await daemon[Symbol.asyncDispose]();
	lab[Symbol.dispose]();
});

let serial = 0;

/** A first visit. Returns the file with its session. */
async function begin(t: ExecutionContext, service: string, args: string): Promise<string> {
	const session = lab.path(`session-${++serial}`);
	const client = `${args} -sess_out ${session}`;
	const {client: output, status} = await visitService(t, daemon, lab, {id: service, client}, service);
	t.is(status, 1);
	t.true(output.some(line => line.startsWith('New, TLS')));
	return session;
}

/** A later visit with a session. Returns how it was resumed. */
async function visitAgain(
	t: ExecutionContext,
	service: string,
	args: string,
	session: string,
): Promise<'resumed' | 'resumed with a ticket' | 'new'> {
	const client = `${args} -sess_in ${session}`;
	const visit = await visitService(t, daemon, lab, {id: service, client}, service);
	t.is(visit.status, 1);
	t.deepEqual(visit.data, ['hello\n', true]);
	if (!visit.client.some(line => line.startsWith('Reused, TLS'))) {
		return 'new';
	}

	return visit.lines.includes('[PEER]: Reusing old session (RFC 5077 session ticket)')
		? 'resumed with a ticket'
		: 'resumed';
}

const services = ['tlsproxy', 'second', 'stock'] as const;
const kinds = {
	'-tls1_3': 'resumed with a ticket',
	'-tls1_2': 'resumed with a ticket',
	'-tls1_2 -no_ticket': 'resumed',
} as const;
for (const [args, how] of Object.entries(kinds)) {
	for (const from of services) {
		for (const to of services) {
			test.serial(`${args}: a session of ${from} is ${how} at ${to}`, async t => {
				const session = await begin(t, from, args);
				t.is(await visitAgain(t, to, args, session), how);
				t.is(await visitAgain(t, to, args, session), how, 'a second time');
			});
		}
	}
}

/* A replacement for tlsmgr(8), whose keys are valid for minutes: this server makes keys with short lifetimes. */
class KeyServer {
	/** All requests. */
	readonly requests: string[] = [];
	/** True: requests are not answered. */
	silent = false;
	readonly #keys: Buffer[] = [];
	#serial = 0;

	/** Makes a key that encrypts tickets for some seconds. */
	make(seconds: number): void {
		const bytes = Buffer.alloc(88, ++this.#serial);
		bytes.writeBigInt64LE(BigInt(Math.floor(Date.now() / 1000) + seconds), 80);
		this.#keys.unshift(bytes);
	}

	/** Removes all keys but the newest. */
	forget(remaining = 1): void {
		this.#keys.splice(remaining);
	}

	async listen(path: string): Promise<Server> {
		const server = createServer(socket => {
			socket.on('error', () => undefined);
			if (daemon.features.greeting) {
				socket.write(printList([['protocol', 'tlsmgr_protocol']]));
			}

			const framer = new AttributeFramer();
			socket.on('data', (bytes: Buffer) => {
				const framed = framer.push(bytes);
				if (framed !== undefined && !this.silent) {
					socket.write(this.#answer(new Map(framed.list)));
				}
			});
		}).listen(path);
		await once(server, 'listening');
		chmodSync(path, 0o666);
		return server;
	}

	#answer(request: ReadonlyMap<string, string>): Uint8Array {
		this.requests.push([...request.values()].slice(0, 2).join(' ').trim());
		switch (request.get('request')) {
			case 'policy':
				return printList([
					['status', '0'],
					['cachable', '0'],
					['timeout', String(TIMEOUT)],
				]);
			case 'seed':
				return printList([
					['status', '0'],
					['seed', Buffer.alloc(Number(request.get('size')), 7).toString('base64')],
				]);
			case 'tktkey': {
				const name = Buffer.from(request.get('keyname') ?? '', 'base64');
				const key =
					name.length === 0 ? this.#keys[0] : this.#keys.find(one => one.subarray(0, 16).equals(name));
				return printList([
					['status', key === undefined ? '4294967295' : '0'],
					['keybuf', (key ?? Buffer.alloc(0)).toString('base64')],
				]);
			}

			case undefined:
			default:
				return printList([['status', '4294967295']]);
		}
	}
}

const keys = new KeyServer();

async function withKeyServer(t: ExecutionContext): Promise<void> {
	const server = await keys.listen(join(daemon.sandbox.queueDirectory, 'private', 'keyserver'));
	t.teardown(() => server.close());
}

for (const args of ['-tls1_3', '-tls1_2']) {
	test.serial(`${args}: an older key decrypts tickets, until it expires`, async t => {
		await withKeyServer(t);
		const [ours, stock, late] = [`our-keys${args}`, `stock-keys${args}`, `late-keys${args}`];
		/* The processes are started with another key, since this takes long on a slow machine. */
		keys.make(1);
		await Promise.all([ours, stock, late].map(async service => await begin(t, service, args)));
		await delay(1100);
		keys.forget(0);

		keys.make(ISSUES);
		const made = performance.now();
		const session = await begin(t, ours, args);
		for (const service of [ours, stock]) {
			t.is(await visitAgain(t, service, args, session), 'resumed with a ticket', service);
		}

		/* There is another key now, and one process that never had the first one. */
		await delay(made + ISSUES * 1000 - performance.now());
		keys.make(3600);
		for (const service of [ours, stock, late]) {
			t.is(await visitAgain(t, service, args, session), 'resumed with a ticket', service);
		}

		/* A process that has the first key knows its lifetime. */
		await delay(made + (ISSUES + TIMEOUT) * 1000 - performance.now());
		for (const service of [ours, stock]) {
			t.is(
				await visitAgain(t, service, args, session),
				'resumed with a ticket',
				`${service} has requested it again`,
			);
		}

		keys.forget();
		for (const service of [ours, stock]) {
			t.is(await visitAgain(t, service, args, session), 'new', service);
		}
	});
}

test.serial('a key is requested on demand, and not for each ticket', async t => {
	await withKeyServer(t);
	keys.make(3600);
	await begin(t, 'few-keys', '-tls1_3');
	const known = keys.requests.length;
	const session = await begin(t, 'few-keys', '-tls1_3');
	t.is(await visitAgain(t, 'few-keys', '-tls1_3', session), 'resumed with a ticket');
	t.is(keys.requests.length, known);
});

test.serial('without answers of tlsmgr(8) sessions are served without tickets', async t => {
	await withKeyServer(t);
	keys.make(1);
	await visitService(t, daemon, lab, {id: 'dead'}, 'dead-keys');
	await delay(1500);
	keys.silent = true;
	for (const args of Object.keys(kinds)) {
		const visit = await visitService(t, daemon, lab, {id: 'dead', client: args}, 'dead-keys');
		t.is(visit.status, 1);
		t.deepEqual(visit.data, ['hello\n', true]);
		t.false(visit.client.some(line => line.includes('ticket lifetime')));
		t.false(visit.lines.some(line => line.includes('Issuing session ticket')));
	}
});
