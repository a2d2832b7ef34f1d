/*
 * open(2) of a FIFO blocks, until the watchdog ends the process with all its sessions. A request
 * or main.cf that names one gets the same result as with a file that cannot be read. Stock
 * with an absent file is the reference, because it blocks with a FIFO.
 */
import {symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import type {ClientInit} from '../../src/wire/client-settings.ts';
import {makeFifo} from '../helpers/blocking.ts';
import {Daemon, type Program} from '../helpers/daemon.ts';
import {echoes, endSession, Service} from '../helpers/master.ts';
import {echoPeer, peerFiles} from '../helpers/remote-servers.ts';

let daemon: Daemon;
/* Names that are used in the log lines of both programs. */
let key = '';
let certificate = '';

test.before(async () => {
	daemon = await Daemon.start('stock');
	const {directory} = daemon.sandbox;
	key = join(directory, 'good.key');
	certificate = join(directory, 'good.cert');
	writeFileSync(key, peerFiles().key, {mode: 0o644});
	writeFileSync(certificate, peerFiles().cert, {mode: 0o644});
});
test.after.always(async () => await daemon[Symbol.asyncDispose]());

/*
 * The reasons why a file is not read, of both programs. The lines about a request whose settings are
 * not those of the service differ as well; other tests compare them.
 */
const REASONS =
	/TLS library problem|^warning: (BAD: REASON$|to avoid this|files are opened without privileges|\(server\) )/;

/** The result of a hand-off, and the lines up to its end, without those with the reason for a bad file. */
async function handOff(
	t: ExecutionContext,
	which: Program,
	bad: string,
	init: Partial<ClientInit>,
): Promise<unknown> {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, which);
	const started = service.start();
	const open = await service.session(t, port);
	const before = (await started.linesUpTo(/^Untrusted TLS connection established /)).length;
	const {status, report, client} = await daemon.handOff(t, port, {init}, service.name);
	await endSession(client);
	const {worker} = started;
	t.true(await echoes(open));
	await endSession(open);
	/* The process serves the next session, and its lines are the last ones. */
	await endSession(await service.session(t, port));
	t.is(started.worker, worker);
	let lines: readonly string[] = [];
	t.true(
		await daemon.sandbox.waitFor(async () => {
			lines = await started.lines();
			return lines.filter(line => line.startsWith('DISCONNECT ')).length >= 3;
		}),
		lines.join('\n'),
	);
	return {
		status,
		served: report !== undefined,
		lines: lines
			.slice(before)
			.map(line =>
				line
					.replaceAll(bad, 'BAD')
					.replaceAll(String(port), 'PORT')
					.replace(/No such file or directory|not a regular file/, 'REASON'),
			)
			.filter(line => !REASONS.test(line))
			.toSorted(),
	};
}

const likeAbsent = test.macro<
	[setting: string, init: (bad: string) => Partial<ClientInit>, make?: (path: string) => void]
>({
	async exec(t, setting, init, make = makeFifo) {
		const path = join(daemon.sandbox.directory, setting.replaceAll(/\W/g, '-'));
		make(path);
		const absent = `${path}-absent`;
		t.deepEqual(await handOff(t, 'ours', path, init(path)), await handOff(t, 'stock', absent, init(absent)));
	},
	title(_, setting) {
		return `${setting}: the result of an unreadable file, and sessions go on`;
	},
});

test(likeAbsent, 'a FIFO as CAfile', CAfile => ({CAfile}));
test(likeAbsent, 'a FIFO as chain_files', chain_files => ({chain_files}));
test(likeAbsent, 'a FIFO after a chain', bad => ({chain_files: `${key}, ${certificate}, ${bad}`}));
test(likeAbsent, 'a FIFO as cert_file', cert_file => ({cert_file, key_file: key}));
test(likeAbsent, 'a FIFO as key_file', key_file => ({cert_file: certificate, key_file}));
test(likeAbsent, 'a FIFO as cert_file and key_file', bad => ({cert_file: bad, key_file: bad}));
test(
	likeAbsent,
	'a link to a FIFO',
	CAfile => ({CAfile}),
	path => symlinkSync(makeFifo(`${path}-fifo`), path),
);
/* It has no end, and no line feed. */
test(
	likeAbsent,
	'a link to a device',
	CAfile => ({CAfile}),
	path => symlinkSync('/dev/zero', path),
);

test('a link to a regular file is opened', async t => {
	const port = await echoPeer(t);
	const service = new Service(t, daemon, 'ours');
	const started = service.start();
	const CAfile = join(daemon.sandbox.directory, 'link');
	symlinkSync(certificate, CAfile);
	const {client} = await daemon.handOff(t, port, {init: {CAfile}}, service.name);
	await endSession(client);
	/* The certificate of the server is that in the file. */
	const lines = await started.linesUpTo(/TLS connection established to /);
	t.true(
		lines.some(line => line.startsWith('Trusted ')),
		lines.join('\n'),
	);
});

/* These files are opened when a process starts, as root. A process that blocks here is ended by its supervisor. */
const starts = test.macro<[parameter: string, lines: readonly RegExp[], ...options: readonly string[]]>({
	async exec(t, parameter, wanted, ...options) {
		const port = await echoPeer(t);
		const service = new Service(t, daemon, 'ours');
		const path = makeFifo(join(daemon.sandbox.directory, parameter));
		const started = service.start(
			'-o',
			`${parameter}=${path}`,
			...options.map(text => text.replace('GOOD', certificate).replace('KEY', key)),
		);
		const client = await service.greeted(t);
		client.socket.end();
		const served = parameter === 'tls_config_file' ? undefined : await service.session(t, port);
		t.true(served === undefined || (await echoes(served)));
		let lines: readonly string[] = [];
		const isLogged = async (): Promise<boolean> => {
			lines = (await started.lines()).map(line => line.replaceAll(path, 'FIFO'));
			return wanted.every(line => lines.some(found => line.test(found)));
		};
		t.true(await daemon.sandbox.waitFor(isLogged), lines.join('\n'));
	},
	title(_, parameter) {
		return `a FIFO as ${parameter} in main.cf does not block the start of a process`;
	},
});

const SERVER = [
	'-o',
	'tlsproxy_tls_security_level=may',
	'-o',
	'tlsproxy_tls_cert_file=GOOD',
	'-o',
	'tlsproxy_tls_key_file=KEY',
];
test(starts, 'tlsproxy_client_CAfile', [/^warning: FIFO: not a regular file$/]);
test(
	starts,
	'tlsproxy_tls_dh1024_param_file',
	[
		/^warning: (error opening DH parameter file "FIFO"|cannot load 1024-bit DH parameters from file FIFO): not a regular file -- using compiled-in defaults$/,
	],
	...SERVER,
);
test(
	starts,
	'tlsproxy_tls_CAfile',
	[/^cannot load Certification Authority data, CAfile="FIFO": disabling TLS support$/, /^warning: FIFO: not/],
	...SERVER,
);
test(starts, 'tls_config_file', [
	/^warning: error loading the 'default' settings from the FIFO OpenSSL configuration file, disabling/,
	/^warning: FIFO: not a regular file$/,
]);
