import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';

/* OpenSSL initializes itself once per process, so each case runs in a new process. */
const directory = mkdtempSync(join(tmpdir(), 'library-'));
test.after.always(() => rmSync(directory, {recursive: true}));

function write(name: string, ...lines: readonly string[]): string {
	const path = join(directory, name);
	writeFileSync(path, lines.map(line => `${line}\n`).join(''));
	return path;
}

/* The minimum protocol version of a new SSL_CTX shows which settings were applied. */
const good = write(
	'good.cnf',
	'openssl_conf = plain',
	'postfix = named',
	'[plain]',
	'ssl_conf = plain_ssl',
	'[plain_ssl]',
	'system_default = plain_default',
	'[plain_default]',
	'MinProtocol = TLSv1.2',
	'[named]',
	'ssl_conf = named_ssl',
	'[named_ssl]',
	'system_default = named_default',
	'[named_default]',
	'MinProtocol = TLSv1.3',
);
const broken = write('broken.cnf', 'openssl_conf = plain', '[plain]', 'ssl_conf = nowhere');

interface Result {
	readonly lines: readonly string[];
	readonly results: readonly boolean[];
	readonly minimum: number;
}

/** The import specifier of a module under src/, as source text. */
function source(path: string): string {
	return JSON.stringify(new URL(`../../src/${path}`, import.meta.url).href);
}

/** Calls startLibrary() in a new process, with `standard` as the default configuration file of OpenSSL. */
async function run(
	starts: ReadonlyArray<readonly [file: string, name: string]>,
	standard = good,
): Promise<Result> {
	const {stdout} = await execa({
		env: {OPENSSL_CONF: standard},
	})`${process.execPath} --input-type=module --eval ${`
		import koffi from ${JSON.stringify(import.meta.resolve('koffi'))};
		import {openLog} from ${source('log/log.ts')};
		import {startLibrary} from ${source('tls/library.ts')};
		import {SSL_CTX_new, TLS_client_method} from ${source('ffi/openssl/ssl-ctx.ts')};
		const lines = [];
		openLog({send(severity, label, text) { lines.push(label + text); }});
		const results = ${JSON.stringify(starts)}.map(([file, name]) => startLibrary(file, name));
		const ctrl = koffi.load('libssl.so.3', {deep: true}).func('long SSL_CTX_ctrl(void *ctx, int cmd, long larg, void *parg)');
		const ctx = results.includes(true) ? SSL_CTX_new(TLS_client_method()) : null;
		const GET_MIN_PROTO_VERSION = 130;
		const minimum = ctx === null ? -1 : ctrl(ctx, GET_MIN_PROTO_VERSION, 0, null);
		console.log(JSON.stringify({lines, results, minimum}));
	`}`;
	return JSON.parse(stdout) as Result;
}

const starts = test.macro({
	async exec(t, file: string, name: string, minimum: number) {
		t.deepEqual(await run([[file, name]]), {lines: [], results: [true], minimum});
	},
	title(condition = '') {
		return `startLibrary ${condition}`;
	},
});

test('reads the default file', starts, 'default', '', 0x0303);
test('reads the section of a name in the default file', starts, 'default', 'postfix', 0x0304);
test('falls back to the default section in the default file', starts, 'default', 'absent', 0x0303);
test('reads no file with "none"', starts, 'none', '', 0);
test('reads no file with "none" and a section name', starts, 'none', 'postfix', 0);
test('reads another file', starts, good, '', 0x0303);
test('reads the section of a name in another file', starts, good, 'postfix', 0x0304);

/* OpenSSL 3.0 handles a missing section like an empty one. It must not read the default section. */
test('does not fall back to the default section in another file', starts, good, 'absent', 0);

test('startLibrary accepts a missing default file', async t => {
	for (const name of ['', 'postfix']) {
		t.deepEqual(await run([['default', name]], join(directory, 'absent')), {
			lines: [],
			results: [true],
			minimum: 0,
		});
	}
});

const fails = test.macro({
	async exec(t, file: string, name: string, message: string) {
		const {lines, results} = await run([[file, name]]);
		t.deepEqual(results, [false]);
		t.is(lines[0], `warning: ${message}, disabling TLS support`);
		t.true(lines.slice(1).every(line => line.startsWith('warning: TLS library problem: error:')));
	},
	title(condition = '') {
		return `startLibrary fails: ${condition}`;
	},
});

test(
	'a relative path',
	fails,
	'openssl.cnf',
	'',
	'non-default tls_config_file = openssl.cnf is not an absolute pathname',
);
test('an empty path', fails, '', '', 'non-default tls_config_file =  is not an absolute pathname');
test(
	'a missing file',
	fails,
	'/nonexistent/openssl.cnf',
	'',
	"error loading the 'default' settings from the /nonexistent/openssl.cnf OpenSSL configuration file",
);
test(
	'an invalid section',
	fails,
	broken,
	'',
	`error loading the 'default' settings from the ${broken} OpenSSL configuration file`,
);

test('startLibrary logs the errors of OpenSSL', async t => {
	const {lines} = await run([['/nonexistent/openssl.cnf', '']]);
	t.true(lines.length > 1);
	t.regex(lines[1] ?? '', /^warning: TLS library problem: error:[0-9A-F]{8}:.*:[\w./-]+\.c:\d+:/);
});

test('startLibrary initializes once: the first result is final', async t => {
	const success = await run([
		['none', ''],
		['/nonexistent/openssl.cnf', ''],
	]);
	t.deepEqual(success, {lines: [], results: [true, true], minimum: 0});
	const failure = await run([
		['relative', ''],
		['default', ''],
	]);
	t.deepEqual(failure.results, [false, false]);
	t.is(failure.lines.length, 1);
});
