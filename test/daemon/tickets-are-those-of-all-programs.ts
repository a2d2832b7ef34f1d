/*
 * A client may meet another process, or another program, when it comes back. Three
 * services share one tlsmgr(8): two of ours, and stock's.
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
import {visitService} from '../helpers/server-differential.ts';

const lab = makeLab();
/* Seconds for which a key issues tickets, and for which it opens them then: enough for five visits, however slow. */
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
				words => `stock-keys${words} unix - - n - 0 tlsproxy\n  -o tlsmgr_service_name=keyserver`,
			),
		],
		copies: {
			second: {},
			...Object.fromEntries(
				[
					'own-keys-tls1_3',
					'own-keys-tls1_2',
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

/** A first visit: where its session is. */
async function begin(t: ExecutionContext, service: string, words: string): Promise<string> {
	const session = lab.path(`session-${++serial}`);
	const client = `${words} -sess_out ${session}`;
	const {client: said, status} = await visitService(t, daemon, lab, {id: service, client}, service);
	t.is(status, 1);
	t.true(said.some(line => line.startsWith('New, TLS')));
	return session;
}

/** A further visit with a session: whether it was resumed, and with what. */
async function comeBack(
	t: ExecutionContext,
	service: string,
	words: string,
	session: string,
): Promise<'resumed' | 'resumed with a ticket' | 'new'> {
	const client = `${words} -sess_in ${session}`;
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
for (const [words, how] of Object.entries(kinds)) {
	for (const from of services) {
		for (const to of services) {
			test.serial(`${words}: a session of ${from} is ${how} at ${to}`, async t => {
				const session = await begin(t, from, words);
				t.is(await comeBack(t, to, words, session), how);
				t.is(await comeBack(t, to, words, session), how, 'and again');
			});
		}
	}
}

/*
 * tlsmgr(8) makes keys that are good for minutes. In its place a server that makes
 * them as they are needed here.
 */
class KeyServer {
	/** Requests so far. */
	readonly requests: string[] = [];
	/** No answers any more. */
	silent = false;
	readonly #keys: Buffer[] = [];
	#serial = 0;

	/** Makes a key that issues tickets for some seconds. */
	make(seconds: number): void {
		const bytes = Buffer.alloc(88, ++this.#serial);
		bytes.writeBigInt64LE(BigInt(Math.floor(Date.now() / 1000) + seconds), 80);
		this.#keys.unshift(bytes);
	}

	/** Forgets all keys but the newest so many. */
	forget(but = 1): void {
		this.#keys.splice(but);
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

for (const words of ['-tls1_3', '-tls1_2']) {
	test.serial(`${words}: a key opens tickets when it issues none any more, and not for ever`, async t => {
		await withKeyServer(t);
		const [own, stock, late] = [`own-keys${words}`, `stock-keys${words}`, `late-keys${words}`];
		/* What takes long on a slow machine is to start the processes: they do not get the key for it. */
		keys.make(1);
		await Promise.all([own, stock, late].map(async service => await begin(t, service, words)));
		await delay(1100);
		keys.forget(0);

		keys.make(ISSUES);
		const made = performance.now();
		const session = await begin(t, own, words);
		for (const service of [own, stock]) {
			t.is(await comeBack(t, service, words, session), 'resumed with a ticket', service);
		}

		/* By now there is another key, and one process that has never had the first. */
		await delay(made + ISSUES * 1000 - performance.now());
		keys.make(3600);
		for (const service of [own, stock, late]) {
			t.is(await comeBack(t, service, words, session), 'resumed with a ticket', service);
		}

		/* Those that have the first key know how long it is good. */
		await delay(made + (ISSUES + TIMEOUT) * 1000 - performance.now());
		for (const service of [own, stock]) {
			t.is(await comeBack(t, service, words, session), 'resumed with a ticket', `${service} has asked`);
		}

		keys.forget();
		for (const service of [own, stock]) {
			t.is(await comeBack(t, service, words, session), 'new', service);
		}
	});
}

test.serial('a key is asked for when it is needed, and not for each ticket', async t => {
	await withKeyServer(t);
	keys.make(3600);
	await begin(t, 'few-keys', '-tls1_3');
	const known = keys.requests.length;
	const session = await begin(t, 'few-keys', '-tls1_3');
	t.is(await comeBack(t, 'few-keys', '-tls1_3', session), 'resumed with a ticket');
	t.is(keys.requests.length, known);
});

test.serial('tlsmgr that does not answer costs resumption, and nothing else', async t => {
	await withKeyServer(t);
	keys.make(1);
	await visitService(t, daemon, lab, {id: 'dead'}, 'dead-keys');
	await delay(1500);
	keys.silent = true;
	for (const words of Object.keys(kinds)) {
		const visit = await visitService(t, daemon, lab, {id: 'dead', client: words}, 'dead-keys');
		t.is(visit.status, 1);
		t.deepEqual(visit.data, ['hello\n', true]);
		t.false(visit.client.some(line => line.includes('ticket lifetime')));
		t.false(visit.lines.some(line => line.includes('Issuing session ticket')));
	}
});
