/*
 * Keys are read as root, and a process inside the chroot jail cannot read them again.
 * Renewed certificates must be used without a reload, and a failed renewal must not affect
 * mail delivery.
 */
import {once} from 'node:events';
import {mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import {connect as connectTls} from 'node:tls';
import test, {type ExecutionContext} from 'ava';
import type {LocalClient} from '../helpers/client.ts';
import {Daemon, type HandoffOptions} from '../helpers/daemon.ts';
import {echoes, endSession} from '../helpers/master.ts';
import {CertificateStore} from '../helpers/openssl.ts';
import {timeToGreeting} from '../helpers/processes.ts';
import {RemoteListener, serverRoleParameters} from '../helpers/remote-clients.ts';
import {tlsPeer} from '../helpers/remote-servers.ts';

const store = new CertificateStore();
test.after.always(() => store[Symbol.dispose]());
store.make('peer', {extensions: ['subjectAltName=DNS:test.example']});
for (const name of ['first', 'second', 'third', 'other', 'ca1', 'ca2']) {
	store.make(name, {subject: `/CN=${name}`});
}

/** A server that sends a line with the name in the client certificate, and then echoes. */
async function namingServer(t: ExecutionContext): Promise<number> {
	const options = {key: store.read('peer.key'), cert: store.read('peer.cert')};
	return await tlsPeer(t, {...options, requestCert: true, rejectUnauthorized: false}, socket => {
		socket.write(`${String(socket.getPeerCertificate().subject?.CN)}\n`);
		socket.pipe(socket);
	});
}

/** Directories like those of certbot(1): all versions of the files, and links to the current one. */
class Lineages {
	readonly directory: string;
	#version = 0;

	constructor(t: ExecutionContext) {
		this.directory = mkdtempSync(join(tmpdir(), 'lineages-'));
		t.teardown(() => rmSync(this.directory, {recursive: true}));
	}

	path(site: string, name: 'cert' | 'key'): string {
		return join(this.directory, 'live', site, `${name}.pem`);
	}

	/** Parameters of an identity. */
	files(site: string): {readonly cert_file: string; readonly key_file: string} {
		return {cert_file: this.path(site, 'cert'), key_file: this.path(site, 'key')};
	}

	/** Changes links to new files with arbitrary contents. */
	renew(site: string, contents: Readonly<Partial<Record<'cert' | 'key', string>>>): void {
		const version = ++this.#version;
		for (const [name, content] of Object.entries(contents)) {
			mkdirSync(join(this.directory, 'archive', site), {recursive: true, mode: 0o700});
			mkdirSync(join(this.directory, 'live', site), {recursive: true, mode: 0o700});
			const file = join('archive', site, `${name}${version}.pem`);
			writeFileSync(join(this.directory, file), content, {mode: 0o600});
			const link = join(this.directory, 'live', site, `${name}.pem`);
			rmSync(link, {force: true});
			symlinkSync(join('../..', file), link);
		}
	}
}

/** Certificate and key of a name. */
const pair = (name: string) => ({cert: store.read(`${name}.cert`), key: store.read(`${name}.key`)});

/** Makes a session. Returns the name that the server has received. */
async function shown(
	t: ExecutionContext,
	daemon: Daemon,
	port: number,
	options: HandoffOptions,
): Promise<{readonly client: LocalClient; readonly name: string}> {
	const {client, report} = await daemon.handOff(t, port, options);
	t.truthy(report, await daemon.sandbox.log());
	let name = '';
	for (let byte = await client.bytes(1); String(byte) !== '\n'; byte = await client.bytes(1)) {
		t.is(byte.length, 1);
		name += String(byte);
	}

	return {client, name};
}

/** Makes sessions until the server receives a name. Returns the elapsed time, in milliseconds. */
async function timeUntilShown(
	t: ExecutionContext,
	daemon: Daemon,
	port: number,
	options: HandoffOptions,
	wanted: string,
): Promise<number> {
	const start = performance.now();
	for (;;) {
		const {client, name} = await shown(t, daemon, port, options);
		await endSession(client);
		if (name === wanted || performance.now() - start > 60_000) {
			t.is(name, wanted);
			return performance.now() - start;
		}

		await delay(100);
	}
}

/** A service with an identity, a server that requests it, and hand-off options with it. */
async function oneIdentity(t: ExecutionContext) {
	const lineages = new Lineages(t);
	lineages.renew('site', pair('first'));
	const init = lineages.files('site');
	const daemon = await Daemon.start('ours', {
		main: {smtp_tls_cert_file: init.cert_file, smtp_tls_key_file: init.key_file},
	});
	t.teardown(async () => await daemon[Symbol.asyncDispose]());
	return {lineages, daemon, port: await namingServer(t), options: {init}};
}

/** Waits for a number of log lines about changed files. */
async function changes(daemon: Daemon, count: number): Promise<readonly string[]> {
	let lines: readonly string[] = [];
	await daemon.sandbox.waitFor(async () => {
		lines = (await daemon.lines()).filter(line => line.includes(': changed, '));
		return lines.length >= count;
	});
	return lines;
}

/** Waits for a number of workers. Checking new files takes an additional process, and an old one takes time to end. */
async function workers(daemon: Daemon, count: number): Promise<readonly number[]> {
	let pids: readonly number[] = [];
	await daemon.sandbox.waitFor(() => {
		pids = daemon.sandbox.tlsproxyWorkers();
		return pids.length === count;
	});
	return pids;
}

/** Waits until there is one worker. */
async function workerOf(daemon: Daemon): Promise<number> {
	const [pid = 0] = await workers(daemon, 1);
	return pid;
}

test.serial(
	'a certificate is renewed while 50 sessions are open: new sessions use it, and old ones continue',
	async t => {
		const {lineages, daemon, port, options} = await oneIdentity(t);
		const {cert_file, key_file} = options.init;
		const sessions: LocalClient[] = [];
		for (let count = 0; count < 50; count++) {
			const {client, name} = await shown(t, daemon, port, options);
			t.is(name, 'first');
			sessions.push(client);
		}

		const {pid} = daemon;
		lineages.renew('site', pair('second'));
		const time = await timeUntilShown(t, daemon, port, options, 'second');
		t.log(`shown after ${Math.round(time)} ms`);
		t.true((await workers(daemon, 2)).includes(pid));
		t.is(sessions.length, 50);
		for (const session of sessions) {
			t.true(await echoes(session));
		}

		for (const session of sessions) {
			await endSession(session);
		}

		t.false((await workers(daemon, 1)).includes(pid));
		t.deepEqual(await changes(daemon, 1), [
			`${cert_file}, ${key_file}: changed, and used for new connections`,
		]);
		t.deepEqual(await daemon.sandbox.logLines(/exit status|throttl|panic|fatal|error:/), []);
	},
);

test.serial('one of two identities in one service is renewed', async t => {
	const lineages = new Lineages(t);
	lineages.renew('a', pair('first'));
	lineages.renew('b', pair('other'));
	const [first, second] = [lineages.files('a'), lineages.files('b')];
	await using daemon = await Daemon.start('ours', {
		main: {smtp_tls_cert_file: first.cert_file, smtp_tls_key_file: first.key_file},
		chroot: 'y',
		services: [
			`second unix - - n - - smtp\n -o smtp_tls_cert_file=${second.cert_file} -o smtp_tls_key_file=${second.key_file}`,
		],
	});
	const port = await namingServer(t);
	await timeUntilShown(t, daemon, port, {init: first}, 'first');
	await timeUntilShown(t, daemon, port, {init: second}, 'other');
	lineages.renew('b', pair('third'));
	await timeUntilShown(t, daemon, port, {init: second}, 'third');
	await timeUntilShown(t, daemon, port, {init: first}, 'first');
	t.is((await changes(daemon, 1)).length, 1);
});

test.serial(
	'a key does not match: one error is logged, and the old process uses the old certificate, until it matches',
	async t => {
		const {lineages, daemon, port, options} = await oneIdentity(t);
		const {cert_file, key_file} = options.init;
		await timeUntilShown(t, daemon, port, options, 'first');
		const pid = await workerOf(daemon);
		const supervisors = daemon.sandbox.daemonPids('tlsproxy');
		lineages.renew('site', {cert: store.read('second.cert')});
		t.is((await changes(daemon, 1)).length, 1);
		/* Further lines would be logged in this time. */
		await delay(2500);
		const lines = await changes(daemon, 1);
		t.is(lines.length, 1);
		t.true(
			lines[0]?.startsWith(
				`error: ${cert_file}: changed, but not used: cannot get RSA private key from file "${key_file}"; TLS library problem: `,
			),
			lines[0],
		);
		t.regex(lines[0] ?? '', /key values mismatch/);
		await timeUntilShown(t, daemon, port, options, 'first');
		t.is(await workerOf(daemon), pid);
		t.deepEqual(daemon.sandbox.daemonPids('tlsproxy'), supervisors);

		lineages.renew('site', {key: store.read('second.key')});
		await timeUntilShown(t, daemon, port, options, 'second');
		t.not(await workerOf(daemon), pid);
	},
);

const broken = test.macro<[content: () => string, reason: RegExp]>({
	async exec(t, content, reason) {
		const lineages = new Lineages(t);
		lineages.renew('site', {cert: store.read('first.key') + store.read('first.cert')});
		const chain_files = lineages.path('site', 'cert');
		await using daemon = await Daemon.start('ours', {main: {smtp_tls_chain_files: chain_files}});
		const port = await namingServer(t);
		const options = {init: {chain_files}};
		await timeUntilShown(t, daemon, port, options, 'first');
		const pid = await workerOf(daemon);
		lineages.renew('site', {cert: content()});
		const [line = '', ...more] = await changes(daemon, 1);
		t.deepEqual(more, []);
		t.true(line.startsWith(`error: ${chain_files}: changed, but not used: `), line);
		t.regex(line, reason);
		await timeUntilShown(t, daemon, port, options, 'first');
		t.is(await workerOf(daemon), pid);
	},
	title(what = '') {
		return `${what}: one error is logged, and nothing changes`;
	},
});

test.serial('a chain file without a key', broken, () => store.read('second.cert'), /key not first/);
test.serial('a chain file that is empty', broken, () => '', /No PEM data/);
test.serial(
	'a chain file that is cut off',
	broken,
	() => store.read('second.key') + store.read('second.cert').slice(0, 300),
	/error/,
);

test.serial('renewed CA certificates are trusted by new sessions', async t => {
	const directory = mkdtempSync(join(tmpdir(), 'authorities-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	const CAfile = join(directory, 'ca.pem');
	writeFileSync(CAfile, store.read('ca1.cert'));
	await using daemon = await Daemon.start('ours', {main: {smtp_tls_CAfile: CAfile}});
	const port = await namingServer(t);
	const level = {init: {CAfile}, start: {tls_level: 7, matchargv: ['hostname']}};
	const status = async (): Promise<number> => {
		const {client, report} = await daemon.handOff(t, port, level);
		client.socket.destroy();
		return report?.peer_status ?? 0;
	};
	const before = await status();
	const pid = await workerOf(daemon);
	/* Like update-ca-certificates(8). */
	writeFileSync(`${CAfile}.new`, store.read('ca2.cert') + store.read('peer.cert'));
	renameSync(`${CAfile}.new`, CAfile);
	t.true(
		await daemon.sandbox.waitFor(async () => {
			return (await status()) !== before;
		}),
	);
	t.not(await workerOf(daemon), pid);
});

test.serial('a renewed certificate of the server role is used, unless it is broken', async t => {
	const lineages = new Lineages(t);
	lineages.renew('site', pair('first'));
	await using daemon = await Daemon.start('ours', {
		main: serverRoleParameters(lineages.path('site', 'key'), lineages.path('site', 'cert')),
	});
	const door = await RemoteListener.open(t, daemon);
	let visits = 0;
	/** The name in the server certificate. */
	const presented = async (): Promise<string> => {
		const {remote, local, status} = await door.visit(`[192.0.2.1]:${++visits}`);
		t.is(status, 1);
		const socket = connectTls({socket: remote, rejectUnauthorized: false});
		await once(socket, 'secureConnect');
		const name = String(socket.getPeerCertificate().subject?.CN);
		socket.destroy();
		local[Symbol.dispose]();
		return name;
	};
	const shows = async (name: string): Promise<boolean> =>
		await daemon.sandbox.waitFor(async () => (await presented()) === name);
	t.true(await shows('first'));
	const pid = await workerOf(daemon);
	lineages.renew('site', {cert: store.read('second.cert')});
	t.true((await changes(daemon, 1))[0]?.startsWith('error: ') === true);
	t.true(await shows('first'));
	t.is(await workerOf(daemon), pid);
	lineages.renew('site', {key: store.read('second.key')});
	t.true(await shows('second'));
	t.is((await changes(daemon, 2)).length, 2);
});

/* Stock also ends when an open table has changed. */
test.serial('a changed table of server names is read again', async t => {
	const table = store.write('names', '');
	await using daemon = await Daemon.start('ours', {
		main: {
			...serverRoleParameters(store.path('first.key'), store.path('first.cert')),
			tls_server_sni_maps: `texthash:${table}`,
		},
	});
	await timeToGreeting(daemon);
	const pid = await workerOf(daemon);
	store.write('names', `other.example ${store.path('other.key')}, ${store.path('other.cert')}\n`);
	t.deepEqual(await workers(daemon, 0), []);
	await timeToGreeting(daemon);
	t.not(await workerOf(daemon), pid);
	t.deepEqual(await changes(daemon, 1), [`${table}: changed, and used for new connections`]);
});

test.serial('a change of a file that main.cf no longer names has no effect, and is not logged', async t => {
	const {lineages, daemon, port, options} = await oneIdentity(t);
	lineages.renew('other', pair('other'));
	await timeUntilShown(t, daemon, port, options, 'first');
	const pid = await workerOf(daemon);
	const {cert_file, key_file} = lineages.files('other');
	await daemon.sandbox.postconf('smtp_tls_key_file', key_file);
	await daemon.sandbox.postconf('smtp_tls_cert_file', cert_file);
	lineages.renew('site', pair('second'));
	await delay(4000);
	t.is(await workerOf(daemon), pid);
	t.deepEqual(await changes(daemon, 0), []);
	await timeUntilShown(t, daemon, port, options, 'first');
});

test.serial('a change of another file in the same directory has no effect', async t => {
	const {lineages, daemon, port, options} = await oneIdentity(t);
	await timeUntilShown(t, daemon, port, options, 'first');
	const pid = await workerOf(daemon);
	writeFileSync(join(lineages.directory, 'live/site/README'), 'not a certificate');
	t.true(readdirSync(join(lineages.directory, 'live/site')).includes('README'));
	await delay(2500);
	t.is(await workerOf(daemon), pid);
	t.deepEqual(await changes(daemon, 0), []);
});
