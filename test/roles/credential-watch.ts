import {
	appendFileSync,
	chmodSync,
	linkSync,
	mkdirSync,
	mkdtempSync,
	readFileSync,
	renameSync,
	rmSync,
	symlinkSync,
	unlinkSync,
	writeFileSync,
} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {Reactor} from '../../src/event/reactor.ts';
import {close} from '../../src/ffi/libc/libc.ts';
import {CredentialWatch, watchedEntries} from '../../src/roles/credential-watch.ts';
import {openDescriptors} from '../helpers/descriptors.ts';
import {collectLog} from '../helpers/openssl.ts';

function directoryFor(t: ExecutionContext): string {
	const directory = mkdtempSync(join(tmpdir(), 'credential-watch-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	return directory;
}

/** Watches files. The result collects the reports. */
function watch(t: ExecutionContext, ...files: readonly string[]): Array<readonly string[]> {
	const reports: Array<readonly string[]> = [];
	const reactor = new Reactor(close);
	const credentialWatch = new CredentialWatch();
	credentialWatch.watch(files);
	credentialWatch.start(reactor, new DeadlineClock(), changed => reports.push(changed.toSorted()));
	t.teardown(() => {
		credentialWatch[Symbol.dispose]();
		reactor[Symbol.dispose]();
	});
	return reports;
}

/** Waits for a number of reports, and then for the time in which a further one would come. */
async function settled(reports: ReadonlyArray<readonly string[]>, count: number): Promise<void> {
	for (let round = 0; round < 600 && reports.length < count; round++) {
		await delay(100);
	}

	await delay(1700);
}

const detects = test.macro<[file: string, change: (directory: string) => void]>({
	async exec(t, file, change) {
		const directory = directoryFor(t);
		/* The layout of certbot(1). */
		for (const name of ['live', 'live/site', 'archive', 'archive/site']) {
			mkdirSync(join(directory, name));
		}

		writeFileSync(join(directory, 'archive/site/cert1.pem'), 'old');
		symlinkSync('../../archive/site/cert1.pem', join(directory, 'live/site/cert.pem'));
		writeFileSync(join(directory, 'plain.pem'), 'old');
		/* The layout of a Kubernetes volume. */
		mkdirSync(join(directory, '..1'));
		writeFileSync(join(directory, '..1/tls.crt'), 'old');
		symlinkSync('..1', join(directory, '..data'));
		symlinkSync('..data/tls.crt', join(directory, 'tls.crt'));
		const files = ['live/site/cert.pem', 'plain.pem', 'tls.crt', 'absent.pem', 'gone/absent.pem'];
		const reports = watch(t, ...files.map(name => join(directory, name)));
		change(directory);
		await settled(reports, 1);
		t.deepEqual(reports, [[join(directory, file)]]);
	},
	title(change = '') {
		return `CredentialWatch reports ${change}`;
	},
});

test('a file that is written in place', detects, 'plain.pem', directory => {
	appendFileSync(join(directory, 'plain.pem'), 'new');
});
test('a file that is replaced', detects, 'plain.pem', directory => {
	writeFileSync(join(directory, 'plain.pem.new'), 'new');
	renameSync(join(directory, 'plain.pem.new'), join(directory, 'plain.pem'));
});
test('a file that is removed and created again', detects, 'plain.pem', directory => {
	unlinkSync(join(directory, 'plain.pem'));
	writeFileSync(join(directory, 'plain.pem'), 'new');
});
test('a file that is replaced by a hard link', detects, 'plain.pem', directory => {
	writeFileSync(join(directory, 'plain.pem.new'), 'new');
	unlinkSync(join(directory, 'plain.pem'));
	linkSync(join(directory, 'plain.pem.new'), join(directory, 'plain.pem'));
});
test('a symbolic link with a new target', detects, 'live/site/cert.pem', directory => {
	writeFileSync(join(directory, 'archive/site/cert2.pem'), 'new');
	unlinkSync(join(directory, 'live/site/cert.pem'));
	symlinkSync('../../archive/site/cert2.pem', join(directory, 'live/site/cert.pem'));
});
test('a file that is reached through symbolic links', detects, 'live/site/cert.pem', directory => {
	writeFileSync(join(directory, 'archive/site/cert1.pem'), 'new');
});
test('a symbolic link to a directory on the path', detects, 'tls.crt', directory => {
	mkdirSync(join(directory, '..2'));
	writeFileSync(join(directory, '..2/tls.crt'), 'new');
	symlinkSync('..2', join(directory, '..new'));
	renameSync(join(directory, '..new'), join(directory, '..data'));
});
test('a directory that is replaced', detects, 'live/site/cert.pem', directory => {
	mkdirSync(join(directory, 'live/new'));
	writeFileSync(join(directory, 'live/new/cert.pem'), 'new');
	renameSync(join(directory, 'live/site'), join(directory, 'live/old'));
	renameSync(join(directory, 'live/new'), join(directory, 'live/site'));
});
test('a file that is created', detects, 'absent.pem', directory => {
	writeFileSync(join(directory, 'absent.pem'), 'new');
});
test('a file in a directory that is created', detects, 'gone/absent.pem', directory => {
	mkdirSync(join(directory, 'gone'));
	writeFileSync(join(directory, 'gone/absent.pem'), 'new');
});

test('CredentialWatch reports neither other files nor reads', async t => {
	const directory = directoryFor(t);
	const file = join(directory, 'cert.pem');
	writeFileSync(file, 'old');
	const reports = watch(t, file);
	writeFileSync(join(directory, 'cert.pem.new'), 'new');
	readFileSync(file);
	chmodSync(file, 0o600);
	unlinkSync(join(directory, 'cert.pem.new'));
	await settled(reports, 0);
	t.deepEqual(reports, []);
});

test('CredentialWatch reports a certificate and a key that are written one after the other together', async t => {
	const directory = directoryFor(t);
	const files = ['cert.pem', 'key.pem'].map(name => join(directory, name));
	const reports = watch(t, ...files);
	/* On a machine that is busy for a second between the two, they are reported separately. */
	for (let pause = Infinity; pause > 500; ) {
		await settled(reports, 0);
		reports.length = 0;
		const [first = '', second = ''] = files;
		writeFileSync(first, 'new');
		const start = performance.now();
		await delay(100);
		writeFileSync(second, 'new');
		pause = performance.now() - start;
	}

	await settled(reports, 1);
	t.deepEqual(reports, [files]);
});

test('CredentialWatch reports during continuous changes', async t => {
	const directory = directoryFor(t);
	const file = join(directory, 'cert.pem');
	const reports = watch(t, file);
	for (let round = 0; round < 14 && reports.length === 0; round++) {
		writeFileSync(file, 'new');
		await delay(500);
	}

	t.deepEqual(reports, [[file]]);
});

test('CredentialWatch reports changes before its start', async t => {
	const directory = directoryFor(t);
	const file = join(directory, 'cert.pem');
	const reactor = new Reactor(close);
	const credentialWatch = new CredentialWatch();
	credentialWatch.watch([file]);
	writeFileSync(file, 'new');
	const reports: Array<readonly string[]> = [];
	credentialWatch.start(reactor, new DeadlineClock(), changed => reports.push(changed));
	await settled(reports, 1);
	credentialWatch[Symbol.dispose]();
	reactor[Symbol.dispose]();
	t.deepEqual(reports, [[file]]);
});

test('CredentialWatch without files opens nothing', t => {
	const log = collectLog();
	const reactor = new Reactor(close);
	const descriptors = openDescriptors();
	const credentialWatch = new CredentialWatch();
	credentialWatch.watch([]);
	credentialWatch.start(reactor, new DeadlineClock(), () => t.fail());
	t.is(openDescriptors(), descriptors);
	credentialWatch[Symbol.dispose]();
	reactor[Symbol.dispose]();
	t.deepEqual(log, []);
});

test('watchedEntries follows links of files and directories, and ends in a loop', t => {
	const directory = directoryFor(t);
	mkdirSync(join(directory, 'a'));
	mkdirSync(join(directory, 'b'));
	writeFileSync(join(directory, 'b/file'), '');
	symlinkSync('../b', join(directory, 'a/link'));
	symlinkSync(join(directory, 'a/link/./file'), join(directory, 'start'));
	t.deepEqual(watchedEntries(join(directory, 'start')), [
		{directory, name: 'start'},
		{directory: join(directory, 'a'), name: 'link'},
		{directory: join(directory, 'b'), name: 'file'},
	]);
	symlinkSync('loop', join(directory, 'loop'));
	t.true(watchedEntries(join(directory, 'loop')).length < 50);
	t.deepEqual(watchedEntries(join(directory, 'b/file/below')), [
		{directory: join(directory, 'b'), name: 'file'},
	]);
});
