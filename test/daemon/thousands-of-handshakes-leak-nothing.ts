/*
 * One leaked descriptor, SSL or callback costs little. A process that serves for hours must
 * use no more resources than after its first minute.
 *
 * The environment variable HANDSHAKES sets their number; the default is for daily use.
 */
import {readFileSync} from 'node:fs';
import type {Socket} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import {type LocalClient} from '../helpers/client.ts';
import {Daemon, type HandoffOptions, statusOf} from '../helpers/daemon.ts';
import {CertificateStore, connectTo, ecdsa} from '../helpers/openssl.ts';
import {echoPeer, tcpPeer} from '../helpers/remote-servers.ts';

const TOTAL = Number(process.env['HANDSHAKES'] ?? 3000);
const AT_ONCE = 16;
/** Memory that the allocators of C and V8 may retain, regardless of TOTAL, in bytes. */
const GROWTH_LIMIT = 24 * 1024 * 1024;

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('peer', {key: ecdsa, extensions: ['subjectAltName=DNS:test.example']});
const good = {key: store.read('peer.key'), cert: store.read('peer.cert')};

/** One kind of session. */
type Scenario = (t: ExecutionContext, daemon: Daemon, round: number) => Promise<void>;

async function begin(
	t: ExecutionContext,
	daemon: Daemon,
	port: number,
	options: HandoffOptions,
): Promise<LocalClient> {
	const client = await daemon.connect();
	await client.list();
	const fd = connectTo(t, port);
	await client.send(Buffer.concat(daemon.messages(`[127.0.0.1]:${port}`, options)));
	if (statusOf(await client.list()) === 1) {
		client.pass(fd.value);
	}

	fd[Symbol.dispose]();
	return client;
}

test('thousands of handshakes, of all kinds, leak nothing', async t => {
	await using daemon = await Daemon.start('ours', {main: {max_use: '1000000'}});
	const echo = await echoPeer(t, good);
	const old = await echoPeer(t, {...good, maxVersion: 'TLSv1.2'});
	const garbage = await tcpPeer(t, (socket: Socket) => socket.end('220 no TLS\r\n'));
	const gone = await tcpPeer(t, (socket: Socket) => socket.resetAndDestroy());

	/* One message and its echo. */
	const exchange = async (client: LocalClient): Promise<void> => {
		await client.list();
		await client.send('hello');
		t.is(String(await client.bytes(5)), 'hello');
		client.socket.end();
		await client.rest();
	};
	const serves =
		(port: number, options: (round: number) => HandoffOptions): Scenario =>
		async (report, proxy, round) => {
			using client = await begin(report, proxy, port, options(round));
			await exchange(client);
		};
	const fails =
		(port: number, options: HandoffOptions = {}): Scenario =>
		async (report, proxy) => {
			using client = await begin(report, proxy, port, options);
			t.is(String(await client.rest()), '');
		};
	const scenarios: readonly Scenario[] = [
		serves(echo, () => ({})),
		serves(old, () => ({})),
		serves(echo, () => ({start: {tls_level: 7, matchargv: ['hostname']}})),
		/* More contexts than are cached. */
		serves(echo, round => ({init: {verifydepth: round % 300}})),
		serves(old, round => ({
			init: {log_level: '0', verifydepth: round % 7},
			start: {cipher_exclusions: 'CHACHA20'},
		})),
		fails(garbage),
		fails(gone),
		fails(echo, {start: {protocols: 'TLSv9'}}),
		async (report, proxy) => {
			using client = await begin(report, proxy, echo, {});
			await client.send('too early');
		},
		async (report, proxy) => {
			using client = await begin(report, proxy, echo, {});
			await client.list();
		},
	];

	let round = 0;
	const run = async (until: number): Promise<void> => {
		await Promise.all(
			Array.from({length: AT_ONCE}, async () => {
				while (round < until) {
					const current = round++;
					await scenarios[current % scenarios.length]?.(t, daemon, current);
				}
			}),
		);
	};
	/* After these rounds, caches are filled, and allocators have reached their size. */
	await run(Math.min(20_000, TOTAL / 2));
	const {pid} = daemon;
	/* Sixteen sessions have at least as many additional descriptors. */
	const descriptors = await daemon.descriptorsUpTo(39);
	const before = daemon.memory();
	await run(TOTAL);
	/* The number may be smaller: connections to tlsmgr(8) and to the log are opened and closed on demand. */
	t.true((await daemon.descriptorsUpTo(descriptors)) <= descriptors);
	t.is(daemon.pid, pid);
	const after = daemon.memory();
	t.log(`${TOTAL} sessions: ${Math.round(before / 1024)} kB, then ${Math.round(after / 1024)} kB`);
	t.true(after - before < GROWTH_LIMIT);
	t.false(readFileSync(daemon.sandbox.logFile, 'utf8').includes('panic'));
});
