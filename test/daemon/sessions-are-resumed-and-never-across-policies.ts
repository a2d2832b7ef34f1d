/*
 * Certificates are not verified again when a session is resumed. So a session must be
 * offered only with the policy with which they were verified. Two services share one
 * tlsmgr(8): this program, and stock with another service name.
 */
import {createHash, X509Certificate} from 'node:crypto';
import {mkdirSync, symlinkSync} from 'node:fs';
import type {Socket} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import {mailVersion} from '../../postfix/lib/instance.ts';
import type {Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {parseClientHello} from '../helpers/client-hello.ts';
import {daneTrust} from '../helpers/client-role-cases.ts';
import {Daemon, type HandoffOptions} from '../helpers/daemon.ts';
import {makeLab} from '../helpers/lab.ts';
import {type PeerServer, sServer} from '../helpers/openssl.ts';
import {relay, tcpPeer} from '../helpers/remote-servers.ts';

const lab = makeLab();
const cleanup: Array<() => unknown> = [];
const digest = createHash('sha256')
	.update(new X509Certificate(lab.read('good.cert')).publicKey.export({type: 'spki', format: 'der'}))
	.digest();

let daemon: Daemon;
const peers = new Map<string, PeerServer>();
const main = {
	max_use: '100000',
	smtp_tls_session_cache_database: 'btree:${data_directory}/smtp_scache',
	smtp_tls_CAfile: lab.path('root.cert'),
	/* Older releases have another default. */
	smtp_tls_fingerprint_digest: 'sha256',
};
const {legacyVerification, mismatchIsTrusted} = releaseFeatures(mailVersion());

const pinned = daneTrust(
	[{usage: 3, selector: 1, mtype: 1, data: digest}],
	releaseFeatures(mailVersion()).digestLists,
);
test.before(async () => {
	daemon = await Daemon.start('ours', {main, services: ['stock unix - - n - 0 tlsproxy']});
	for (const [name, args] of Object.entries({
		modern: ['-tls1_3'],
		old: ['-tls1_2'],
		noticket: ['-tls1_3', '-num_tickets', '0'],
		/* The same certificate, but this server cannot decrypt tickets of the first one. */
		forgetful: ['-tls1_3'],
	})) {
		const t = {teardown: (run: () => unknown) => cleanup.push(run)};
		const files = [
			'-cert',
			lab.path('good.cert'),
			'-key',
			lab.path('good.key'),
			'-cert_chain',
			lab.path('good.chain'),
		];
		peers.set(name, await sServer(t, '-rev', ...files, '-verify', '1', ...args));
	}
});
test.after.always(async () => {
	await Promise.all(cleanup.map(run => run()));
	await daemon[Symbol.asyncDispose]();
	lab[Symbol.dispose]();
});

/** One connection: whether a session was offered, whether it was resumed, and the log lines about sessions. */
interface Visit {
	readonly offered: boolean;
	readonly reused: boolean;
	readonly peerStatus: number | undefined;
	readonly lines: readonly string[];
}

/** Options of a hand-off that is always from the same client to the same server. */
function sameServer(options: HandoffOptions): HandoffOptions {
	return {
		...options,
		init: {CAfile: lab.path('root.cert'), log_level: 'cache,summary', ...options.init},
		start: {
			serverid: 'smtp&site',
			host: 'mx.example.com',
			nexthop: 'example.com',
			namaddr: 'mx.example.com[127.0.0.1]:25',
			helo: 'client.example.com',
			...options.start,
		},
	};
}

async function visit(
	t: ExecutionContext,
	options: HandoffOptions,
	{service = 'tlsproxy', peer = 'modern'}: {readonly service?: string; readonly peer?: string} = {},
): Promise<Visit> {
	const sent: Buffer[] = [];
	const {port} = await relay(t, peers.get(peer)?.port ?? 0, bytes => sent.push(bytes));
	const session = await daemon.handOff(t, port, sameServer(options), service);
	const {client, report} = session;
	await client.send('hello\n');
	t.is(String(await client.bytes(6)), 'olleh\n');
	client.socket.end();
	await client.rest();
	const lines = await daemon.linesOf(session);
	const hello = parseClientHello(Buffer.concat(sent));
	return {
		/* A pre-shared key, or a ticket that is not empty. */
		offered: hello?.extensions.some(text => /^41 |^35 present/.test(text)) ?? false,
		reused: lines.some(line => line.endsWith(': Reusing old session')),
		peerStatus: report?.peer_status,
		lines: lines.filter(line => /session/.test(line)).map(line => line.replace(/&[\dA-F]{64}/, '&KEY')),
	};
}

let serial = 0;
/** Options for a server without a cached session. */
function fresh(start: HandoffOptions['start'] = {}): HandoffOptions {
	return {start: {serverid: `smtp&site ${++serial}`, ...start}};
}

for (const peer of ['modern', 'old']) {
	test.serial(`${peer}: the second connection of a process is resumed, and so are later ones`, async t => {
		const options = fresh();
		const first = await visit(t, options, {peer});
		t.false(first.reused);
		t.false(first.offered);
		for (let count = 0; count < 3; count++) {
			const next = await visit(t, options, {peer});
			t.true(next.reused);
			t.is(next.peerStatus, first.peerStatus);
		}
	});

	for (const [from, to] of [
		['tlsproxy', 'stock'],
		['stock', 'tlsproxy'],
		['stock', 'stock'],
	] as const) {
		test.serial(`${peer}: a session stored by ${from} is resumed by ${to}`, async t => {
			const options = fresh();
			t.false((await visit(t, options, {peer, service: from})).reused);
			t.true((await visit(t, options, {peer, service: to})).reused);
		});
	}

	test.serial(`${peer}: the log has the lines of stock`, async t => {
		const [ours, stock] = [fresh(), fresh()];
		const name = /smtp&site \d+/;
		for (const round of ['first', 'second']) {
			const ourLines = (await visit(t, ours, {peer})).lines.map(line => line.replace(name, 'SITE'));
			const stockLines = (await visit(t, stock, {peer, service: 'stock'})).lines.map(line =>
				line.replace(name, 'SITE'),
			);
			t.deepEqual(ourLines, stockLines, round);
			t.true(stockLines.length > 1);
		}
	});
}

test.serial('a new process resumes the session of an earlier process', async t => {
	const options = fresh();
	t.false((await visit(t, options)).reused);
	/* A reload would restart tlsmgr(8), too, which starts with an empty cache. */
	const ours = daemon.sandbox.processes().find(({args}) => args.some(arg => arg.endsWith('/lib/main.js')));
	process.kill(ours?.pid ?? 0, 'SIGKILL');
	t.true(await daemon.sandbox.waitFor(() => !daemon.lives(ours?.pid ?? 0)));
	t.true((await visit(t, options)).reused);
});

test.serial('the peer status of a resumed session is unchanged', async t => {
	/* Before 3.6, another status bit means that DNS names were compared. */
	for (const [start, status] of [
		[{tls_level: 7, matchargv: ['hostname']}, legacyVerification ? 31 : 29],
		/* Whether a certificate with another name is trusted depends on the release. */
		[{tls_level: 7, matchargv: ['other.example.net']}, legacyVerification ? 7 : mismatchIsTrusted ? 5 : 1],
		[
			{
				tls_level: 5,
				matchargv: ['hostname'],
				dane: {domain: 'mx.example.com', ...pinned},
			},
			29,
		],
	] as const) {
		const options = fresh(start);
		for (const reused of [false, true]) {
			const seen = await visit(t, options);
			t.is(seen.reused, reused);
			t.is(seen.peerStatus, status);
			t.is((await visit(t, options, {service: 'stock'})).peerStatus, status, 'stock');
		}
	}
});

/* Lines of both programs about the last of a series of connections, each to another server. */
async function secondLines(
	t: ExecutionContext,
	start: HandoffOptions['start'],
	...peersInTurn: readonly string[]
): Promise<Readonly<Record<string, readonly string[]>>> {
	const seen: Record<string, readonly string[]> = {};
	for (const service of ['tlsproxy', 'stock']) {
		const options = fresh(start);
		for (const peer of peersInTurn) {
			const {lines} = await visit(t, options, {service, peer});
			seen[service] = lines.map(line => line.replace(/smtp&site \d+/, 'SITE'));
		}
	}

	return seen;
}

test.serial(
	'a session with an untrusted server is resumed, and the log refers to the first connection',
	async t => {
		const start = {tls_level: 7, matchargv: ['other.example.net']};
		const {tlsproxy = [], stock} = await secondLines(t, start, 'modern', 'modern');
		t.deepEqual(tlsproxy, stock);
		/* Before 3.6, a name mismatch does not affect trust, and names are matched again. */
		t.is(
			tlsproxy.some(line => /re-using session with untrusted (certificate|peer credential)/.test(line)),
			!legacyVerification,
		);
	},
);

test.serial(
	'a server that cannot decrypt the ticket makes a full handshake, and its new ticket is stored',
	async t => {
		const {tlsproxy = [], stock} = await secondLines(t, {}, 'modern', 'forgetful');
		t.deepEqual(tlsproxy, stock);
		t.true(tlsproxy.some(line => line.startsWith('reloaded session')));
		t.false(tlsproxy.some(line => line.endsWith('Reusing old session')));
		t.true(tlsproxy.some(line => line.startsWith('save session')));
		const again = await visit(t, {start: {serverid: `smtp&site ${serial - 1}`}}, {peer: 'forgetful'});
		t.true(again.reused);
	},
);

/*
 * At level "may" the next attempt could be in cleartext. The time limit of a silent server
 * leaves time to look up the session and to send the ClientHello on a slow machine.
 */
for (const [what, behave, handshakeTimeout] of [
	['closes', (socket: Socket) => socket.once('data', () => socket.end()), 100 as Seconds],
	['stays silent', (socket: Socket) => socket.resume(), 10 as Seconds],
] as const) {
	for (const peer of ['modern', 'old']) {
		test.serial(`${peer}: a session is not offered again after a server ${what}`, async t => {
			const options = fresh();
			await visit(t, options, {peer});
			t.true((await visit(t, options, {peer})).reused);
			const port = await tcpPeer(t, behave);
			const session = await daemon.handOff(t, port, {
				request: {handshakeTimeout},
				...sameServer(options),
			});
			t.is(session.report, undefined);
			session.client.socket.end();
			const lines = await daemon.linesOf(session);
			t.true(lines.some(line => line.startsWith('reloaded session ')));
			t.true(lines.some(line => /^remove session .* from client cache$/.test(line)));
			t.false((await visit(t, options, {peer})).offered);
			t.true((await visit(t, options, {peer})).reused);
		});
	}
}

test.serial('no session is resumed with a server without tickets', async t => {
	const options = fresh();
	await visit(t, options, {peer: 'noticket'});
	const second = await visit(t, options, {peer: 'noticket'});
	t.false(second.offered);
});

/* Each of these is another policy, or another identity. */
const base: NonNullable<HandoffOptions['start']> = {
	tls_level: 7,
	matchargv: ['hostname'],
	sni: 'mx.example.com',
};
const others: Readonly<Record<string, HandoffOptions>> = {
	'another server': {start: {serverid: 'smtp&other'}},
	'another HELO name': {start: {helo: 'other.example.com'}},
	'other protocols': {start: {protocols: 'TLSv1.3'}},
	'other ciphers': {start: {cipher_exclusions: 'MD5'}},
	'another level': {start: {tls_level: 2, matchargv: []}},
	'another server name': {start: {sni: 'other.example.com'}},
	'no server name': {start: {sni: ''}},
	'TLSA records': {
		start: {
			tls_level: 5,
			dane: {domain: 'mx.example.com', ...pinned},
		},
	},
	'a client certificate': {init: {cert_file: lab.path('client.cert'), key_file: lab.path('client.key')}},
	'other authorities': {init: {CAfile: lab.path('other.cert')}},
	'a shorter chain': {init: {verifydepth: 0}},
	'another digest': {init: {mdalg: 'sha512'}},
};
/* Before 3.6, the cache key contains only the trust anchors: certificate names are matched for each connection. */
const shared = new Set(legacyVerification ? ['another level', 'another server name', 'no server name'] : []);
for (const [title, other] of Object.entries(others)) {
	if (shared.has(title)) {
		test.serial(`${title}: the session is resumed, as with stock`, async t => {
			for (const service of ['tlsproxy', 'stock']) {
				const first = fresh(base);
				t.false((await visit(t, first, {service})).reused);
				t.true((await visit(t, {start: {...first.start, ...other.start}}, {service})).reused);
			}
		});
		continue;
	}

	test.serial(`no session is offered with ${title}`, async t => {
		const first = fresh(base);
		t.false((await visit(t, first)).reused);
		const {offered, reused} = await visit(t, {
			init: {...other.init},
			start: {...first.start, ...other.start},
		});
		t.false(offered);
		t.false(reused);
		/* The session is still there. */
		t.true((await visit(t, first)).reused);
	});
}

test.serial('no session is offered if other settings name CAfile and CApath with the same text', async t => {
	const root = lab.path('root.cert');
	mkdirSync(`${root}\n`);
	symlinkSync(lab.path('other.cert'), `${root}\n/x`);
	const options = fresh(base);
	const first = {...options, init: {CAfile: root, CApath: '/x\n/y'}};
	t.false((await visit(t, first)).reused);
	t.true((await visit(t, first)).reused);
	t.false((await visit(t, {...options, init: {CAfile: `${root}\n/x`, CApath: '/y'}})).offered);
});

test.serial('a session with a server name is resumed at a level without verification', async t => {
	const options = fresh({sni: 'one.example.com'});
	await visit(t, options);
	t.true((await visit(t, options)).reused);
});

test.serial('without tlsmgr(8), connections succeed, and sessions are not stored', async t => {
	const options = fresh();
	await visit(t, options);
	for (const pid of daemon.sandbox.daemonPids('tlsmgr')) {
		process.kill(pid, 'SIGSTOP');
		t.teardown(() => process.kill(pid, 'SIGKILL'));
	}

	t.true((await visit(t, options)).reused, 'the process has a cache');
	const started = performance.now();
	t.false((await visit(t, fresh())).reused);
	t.log(`${Math.round(performance.now() - started)} ms`);
	const timeout = /warning: problem talking to server private\/tlsmgr: Connection timed out/;
	t.true((await daemon.linesUpTo(timeout)).some(line => timeout.test(line)));
});
