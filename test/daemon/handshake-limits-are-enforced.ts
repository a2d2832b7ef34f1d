/*
 * Limits for concurrent handshakes. Stock has none, and by default this program has none. A
 * client that exceeds a limit gets status 0, which every local client handles, and other
 * clients are not affected.
 */
import test, {type ExecutionContext} from 'ava';
import {Daemon} from '../helpers/daemon.ts';
import {Service, type StartedProcess} from '../helpers/master.ts';
import {CertificateStore, ecdsa} from '../helpers/openssl.ts';
import {completeSession, RemoteListener, serverRoleParameters} from '../helpers/remote-clients.ts';
import {echoPeer} from '../helpers/remote-servers.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('server', {key: ecdsa});

let daemon: Daemon;
test.before(async () => {
	daemon = await Daemon.start('stock', {
		main: serverRoleParameters(store.path('server.key'), store.path('server.cert')),
	});
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

interface Limited {
	readonly service: Service;
	readonly started: StartedProcess;
	readonly door: RemoteListener;
}

async function limited(t: ExecutionContext, ...options: readonly string[]): Promise<Limited> {
	const service = new Service(t, daemon, 'ours');
	const started = service.start(...options);
	return {service, started, door: await RemoteListener.open(t, daemon, service.name)};
}

/** Log lines about refusals, up to the end of a session: lines are logged after the answer. */
async function refusals({started}: Limited, endpoint: string): Promise<readonly string[]> {
	const lines = await started.linesUpTo(`DISCONNECT ${endpoint}`);
	return lines.filter(line => line.startsWith('warning: TLS handshake'));
}

const one = (port: number): string => `[192.0.2.1]:${port}`;
const other = (port: number): string => `[192.0.2.2]:${port}`;

test('beyond client_handshake_count_limit a remote client is refused, and no other', async t => {
	const with2 = await limited(t, 'client_handshake_count_limit=2');
	const {door} = with2;
	const waiting = [await door.visit(one(1)), await door.visit(one(2))];
	t.deepEqual(
		waiting.map(({status}) => status),
		[1, 1],
	);
	for (let port = 3; port <= 20; port++) {
		const {status, local} = await door.visit(one(port));
		t.is(status, 0);
		local[Symbol.dispose]();
	}

	await completeSession(t, await door.visit(other(1)));
	const expected =
		'warning: TLS handshake concurrency limit exceeded: 3 from 192.0.2.1, refused [192.0.2.1]:3';
	t.deepEqual(await refusals(with2, other(1)), [expected]);
	const lines = await with2.started.lines();
	const first = lines.indexOf(`CONNECT from ${one(3)}`);
	t.deepEqual(lines.slice(first, first + 4), [
		`CONNECT from ${one(3)}`,
		expected,
		`TLS handshake failed for service=smtpd peer=${one(3)}`,
		`DISCONNECT ${one(3)}`,
	]);
});

test('a handshake that is complete, failed or aborted no longer counts', async t => {
	const with1 = await limited(t, 'client_handshake_count_limit=1');
	const {door} = with1;
	for (let port = 1; port <= 3; port++) {
		await completeSession(t, await door.visit(one(port)));
		const failing = await door.visit(one(10 + port));
		failing.remote.end('EHLO client.example\r\n');
		t.is(String(await failing.local.rest()), '');
		const gone = await door.visit(one(20 + port));
		gone.remote.destroy();
		t.is(String(await gone.local.rest()), '');
	}

	/* A handshake counts until it is complete, and not until the session ends. */
	const {remote, local} = await door.visit(one(30));
	t.deepEqual(await refusals(with1, one(23)), []);
	t.is((await door.visit(one(31))).status, 0);
	remote.destroy();
	await local.rest();
	t.is((await door.visit(one(32))).status, 1);
});

test('beyond handshake_count_limit all remote clients are refused, and the client role is not', async t => {
	const with2 = await limited(t, 'handshake_count_limit=2', 'client_handshake_count_limit=5');
	const {door, service} = with2;
	await door.visit(one(1));
	await door.visit(other(1));
	const {status, local} = await door.visit('[2001:db8::1]:1');
	t.is(status, 0);
	local[Symbol.dispose]();
	t.deepEqual(await refusals(with2, '[2001:db8::1]:1'), [
		'warning: TLS handshake concurrency limit exceeded: 3 in progress, refused [2001:db8::1]:1',
	]);
	const port = await echoPeer(t);
	for (let count = 0; count < 5; count++) {
		await service.session(t, port);
	}
});

test('remote clients in one IPv6 /64 network count as one client', async t => {
	const {door} = await limited(t, 'client_handshake_count_limit=1');
	t.is((await door.visit('[2001:db8:0:1::1]:1')).status, 1);
	t.is((await door.visit('[2001:db8:0:1:ffff::2]:1')).status, 0);
	t.is((await door.visit('[2001:db8:0:2::1]:1')).status, 1);
});

test('by default there is no limit', async t => {
	const without = await limited(t);
	for (let port = 1; port <= 100; port++) {
		t.is((await without.door.visit(one(port))).status, 1);
	}

	await completeSession(t, await without.door.visit(other(1)));
	t.deepEqual(await refusals(without, other(1)), []);
});

const isFatal = test.macro({
	async exec(t, option: string, fatal: string) {
		const started = new Service(t, daemon, 'ours').start(option, 'fallback=no');
		t.is(await started.end(), 1);
		await started.linesUpTo(`fatal: ${fatal}`);
		t.true(await started.gone());
	},
	title(_, option: string) {
		return `${option} is fatal`;
	},
});

test(
	isFatal,
	'client_handshake_count_limit=few',
	'bad numerical configuration: client_handshake_count_limit = few',
);
test(isFatal, 'handshake_count_limit=-1', 'invalid handshake_count_limit parameter value -1 < 0');
test(isFatal, 'handshake_limit=5', 'unexpected command-line argument: handshake_limit=5');
