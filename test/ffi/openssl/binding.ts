import {execFileSync} from 'node:child_process';
import {globSync} from 'node:fs';
import test from 'ava';
import {execa} from 'execa';

/* The library of openssl(1). */
const [, major] = /^OpenSSL (\d+)/.exec(execFileSync('openssl', ['version'], {encoding: 'utf8'})) ?? [];
const libssl = major === '1' ? 'libssl.so.1.1' : `libssl.so.${major}`;

/** Runs a script in another process, because a process can load one OpenSSL only. Returns what it prints as JSON. */
async function inProcess(...lines: readonly string[]): Promise<unknown> {
	const modules = globSync('**/*.ts', {cwd: new URL('../../../src/ffi/', import.meta.url).pathname});
	const imports = modules.map(
		(name, index) =>
			`const m${index} = await import(${JSON.stringify(new URL(`../../../src/ffi/${name}`, import.meta.url).href)});`,
	);
	const all = `const ffi = Object.assign({}, ${modules.map((_, index) => `m${index}`).join(', ')});`;
	const script = [...imports, all, ...lines].join('\n');
	const {stdout} = await execa`${process.execPath} --input-type=module --eval ${script}`;
	return JSON.parse(stdout);
}

test('the library of this system exports all functions that every release should have', async t => {
	t.deepEqual(await inProcess(`console.log(JSON.stringify(ffi.loadOpenssl('${libssl}')));`), []);
});

test('a function that the library does not export is reported by name, and a call of it panics', async t => {
	t.deepEqual(
		await inProcess(
			"const absent = ffi.libssl.func('int SSL_no_such_function(void *ssl, int n)');",
			`const missing = ffi.loadOpenssl('${libssl}');`,
			'let reason;',
			'try { absent(null, 1); } catch (error) { reason = `${error.name}: ${error.message}`; }',
			'console.log(JSON.stringify({missing, reason}));',
		),
		{missing: ['SSL_no_such_function'], reason: 'Panic: OpenSSL has no SSL_no_such_function'},
	);
});

test('a function is found under its former name', async t => {
	t.deepEqual(
		await inProcess(
			"const read = ffi.libssl.func('const char *SSL_new_name_of_alert(int value)', 'SSL_alert_type_string_long');",
			`const missing = ffi.loadOpenssl('${libssl}');`,
			'console.log(JSON.stringify({missing, text: read(0x200)}));',
		),
		{missing: [], text: 'fatal'},
	);
});

test('an optional function is undefined if the library does not export it', async t => {
	t.deepEqual(
		await inProcess(
			"const absent = ffi.libcrypto.optional('int no_such_function(void)');",
			"const present = ffi.libcrypto.optional('unsigned long OpenSSL_version_num(void)');",
			'console.log(JSON.stringify([absent() === undefined, present()() > 0x10100000]));',
		),
		[true, true],
	);
});

test('without loadOpenssl an installed release is loaded, and cannot be changed afterwards', async t => {
	t.deepEqual(
		await inProcess(
			'const number = ffi.OpenSSL_version_num();',
			'let reason;',
			`try { ffi.loadOpenssl('${libssl}'); } catch (error) { reason = error.name; }`,
			'console.log(JSON.stringify([number > 0x10100000, reason]));',
		),
		[true, 'Panic'],
	);
});

test('a library that is not installed is an error', async t => {
	const text = await inProcess(
		'let reason;',
		"try { ffi.loadOpenssl('libssl.so.99'); } catch (error) { reason = error.message; }",
		'console.log(JSON.stringify(reason));',
	);
	t.regex(String(text), /cannot open shared object file/);
});

test('the library is loaded in addition to the one inside of Node.js, and both work', async t => {
	t.deepEqual(
		await inProcess(
			"const {createHash} = await import('node:crypto');",
			`ffi.loadOpenssl('${libssl}');`,
			'const ctx = ffi.SSL_CTX_new(ffi.TLS_client_method());',
			'ffi.SSL_CTX_free(ctx);',
			"const digest = ffi.sha256(Buffer.from('x')).equals(createHash('sha256').update('x').digest());",
			`const loaded = process.report.getReport().sharedObjects.some(path => path.includes('${libssl}'));`,
			'console.log(JSON.stringify([ctx !== null, digest, loaded, process.versions.openssl !== undefined]));',
		),
		[true, true, true, true],
	);
});
