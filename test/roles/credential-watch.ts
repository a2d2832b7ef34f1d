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
import {collectLog} from '../helpers/openssl.ts';

function directoryFor(t: ExecutionContext): string {
	const directory = mkdtempSync(join(tmpdir(), 'renewal-'));
	t.teardown(() => rmSync(directory, {recursive: true}));
	return directory;
}

/** Watches files; what it tells is in the result. */
function watch(t: ExecutionContext, ...files: readonly string[]): Array<readonly string[]> {
	const told: Array<readonly string[]> = [];
	const reactor = new Reactor(close);
	const credentialWatch = new CredentialWatch();
	credentialWatch.watch(files);
	credentialWatch.start(reactor, new DeadlineClock(), changed => told.push(changed.toSorted()));
	t.teardown(() => {
		credentialWatch[Symbol.dispose]();
		reactor[Symbol.dispose]();
	});
	return told;
}

/** Until that many changes have been told, and no more. */
async function settled(told: ReadonlyArray<readonly string[]>, count: number): Promise<void> {
	for (let round = 0; round < 100 && told.length < count; round++) {
		await delay(100);
	}

	await delay(1700);
}

const notices = test.macro<[file: string, change: (directory: string) => void]>({
	async exec(t, file, change) {
		const directory = directoryFor(t);
		/* As certbot(1) has it. */
		for (const name of ['live', 'live/site', 'archive', 'archive/site']) {
			mkdirSync(join(directory, name));
		}

		writeFileSync(join(directory, 'archive/site/cert1.pem'), 'old');
		symlinkSync('../../archive/site/cert1.pem', join(directory, 'live/site/cert.pem'));
		writeFileSync(join(directory, 'plain.pem'), 'old');
		/* As volumes of Kubernetes have it. */
		mkdirSync(join(directory, '..1'));
		writeFileSync(join(directory, '..1/tls.crt'), 'old');
		symlinkSync('..1', join(directory, '..data'));
		symlinkSync('..data/tls.crt', join(directory, 'tls.crt'));
		const files = ['live/site/cert.pem', 'plain.pem', 'tls.crt', 'absent.pem', 'gone/absent.pem'];
		const told = watch(t, ...files.map(name => join(directory, name)));
		change(directory);
		await settled(told, 1);
		t.deepEqual(told, [[join(directory, file)]]);
	},
	title(how = '') {
		return `Renewal tells of ${how}`;
	},
});

test('a file that is written in place', notices, 'plain.pem', directory => {
	appendFileSync(join(directory, 'plain.pem'), 'new');
});
test('a file that another takes the place of', notices, 'plain.pem', directory => {
	writeFileSync(join(directory, 'plain.pem.new'), 'new');
	renameSync(join(directory, 'plain.pem.new'), join(directory, 'plain.pem'));
});
test('a file that is removed and made again', notices, 'plain.pem', directory => {
	unlinkSync(join(directory, 'plain.pem'));
	writeFileSync(join(directory, 'plain.pem'), 'new');
});
test('a hard link that takes its place', notices, 'plain.pem', directory => {
	writeFileSync(join(directory, 'plain.pem.new'), 'new');
	unlinkSync(join(directory, 'plain.pem'));
	linkSync(join(directory, 'plain.pem.new'), join(directory, 'plain.pem'));
});
test('a link that is made to point elsewhere', notices, 'live/site/cert.pem', directory => {
	writeFileSync(join(directory, 'archive/site/cert2.pem'), 'new');
	unlinkSync(join(directory, 'live/site/cert.pem'));
	symlinkSync('../../archive/site/cert2.pem', join(directory, 'live/site/cert.pem'));
});
test('a file at the end of links', notices, 'live/site/cert.pem', directory => {
	writeFileSync(join(directory, 'archive/site/cert1.pem'), 'new');
});
test('a link in the middle of the way', notices, 'tls.crt', directory => {
	mkdirSync(join(directory, '..2'));
	writeFileSync(join(directory, '..2/tls.crt'), 'new');
	symlinkSync('..2', join(directory, '..new'));
	renameSync(join(directory, '..new'), join(directory, '..data'));
});
test('a directory that takes the place of another', notices, 'live/site/cert.pem', directory => {
	mkdirSync(join(directory, 'live/new'));
	writeFileSync(join(directory, 'live/new/cert.pem'), 'new');
	renameSync(join(directory, 'live/site'), join(directory, 'live/old'));
	renameSync(join(directory, 'live/new'), join(directory, 'live/site'));
});
test('a file that was not there', notices, 'absent.pem', directory => {
	writeFileSync(join(directory, 'absent.pem'), 'new');
});
test('a directory that was not there', notices, 'gone/absent.pem', directory => {
	mkdirSync(join(directory, 'gone'));
	writeFileSync(join(directory, 'gone/absent.pem'), 'new');
});

test('Renewal is silent about other files, and about being read', async t => {
	const directory = directoryFor(t);
	const file = join(directory, 'cert.pem');
	writeFileSync(file, 'old');
	const told = watch(t, file);
	writeFileSync(join(directory, 'cert.pem.new'), 'new');
	readFileSync(file);
	chmodSync(file, 0o600);
	unlinkSync(join(directory, 'cert.pem.new'));
	await settled(told, 0);
	t.deepEqual(told, []);
});

test('Renewal tells once of a certificate and a key that are written one after the other', async t => {
	const directory = directoryFor(t);
	const files = ['cert.pem', 'key.pem'].map(name => join(directory, name));
	const told = watch(t, ...files);
	for (const file of files) {
		writeFileSync(file, 'new');
		await delay(100);
	}

	await settled(told, 1);
	t.deepEqual(told, [files]);
});

test('Renewal tells although changes go on and on', async t => {
	const directory = directoryFor(t);
	const file = join(directory, 'cert.pem');
	const told = watch(t, file);
	for (let round = 0; round < 14 && told.length === 0; round++) {
		writeFileSync(file, 'new');
		await delay(500);
	}

	t.deepEqual(told, [[file]]);
});

test('Renewal tells of what happens before it is started', async t => {
	const directory = directoryFor(t);
	const file = join(directory, 'cert.pem');
	const reactor = new Reactor(close);
	const credentialWatch = new CredentialWatch();
	credentialWatch.watch([file]);
	writeFileSync(file, 'new');
	const told: Array<readonly string[]> = [];
	credentialWatch.start(reactor, new DeadlineClock(), changed => told.push(changed));
	await settled(told, 1);
	credentialWatch[Symbol.dispose]();
	reactor[Symbol.dispose]();
	t.deepEqual(told, [[file]]);
});

test('Renewal of no files has nothing open', t => {
	const log = collectLog();
	const credentialWatch = new CredentialWatch();
	credentialWatch.watch([]);
	const reactor = new Reactor(close);
	credentialWatch.start(reactor, new DeadlineClock(), () => t.fail());
	credentialWatch[Symbol.dispose]();
	reactor[Symbol.dispose]();
	t.deepEqual(log, []);
});

test('placesOf follows links, also those of directories, up and down, and ends in a circle', t => {
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
	symlinkSync('circle', join(directory, 'circle'));
	t.true(watchedEntries(join(directory, 'circle')).length < 50);
	t.deepEqual(watchedEntries(join(directory, 'b/file/below')), [
		{directory: join(directory, 'b'), name: 'file'},
	]);
});
