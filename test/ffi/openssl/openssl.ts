import {globSync} from 'node:fs';
import test from 'ava';
import {execa} from 'execa';

/** Runs a few lines in a process of their own: a process has one OpenSSL. Their result comes back. */
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

test('all that every release has is exported by the library of this host', async t => {
	t.deepEqual(await inProcess("console.log(JSON.stringify(ffi.loadOpenssl('libssl.so.3')));"), []);
});

test('what the library does not export is told by name, and calling it is a panic', async t => {
	t.deepEqual(
		await inProcess(
			"const absent = ffi.libssl.func('int SSL_no_such_function(void *ssl, int n)');",
			"const missing = ffi.loadOpenssl('libssl.so.3');",
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
			"const missing = ffi.loadOpenssl('libssl.so.3');",
			'console.log(JSON.stringify({missing, text: read(0x200)}));',
		),
		{missing: [], text: 'fatal'},
	);
});

test('a function that not every release has is undefined where it is absent', async t => {
	t.deepEqual(
		await inProcess(
			"const absent = ffi.libcrypto.optional('int no_such_function(void)');",
			"const present = ffi.libcrypto.optional('unsigned long OpenSSL_version_num(void)');",
			'console.log(JSON.stringify([absent() === undefined, present()() > 0x10100000]));',
		),
		[true, true],
	);
});

test('whoever does not say which gets what there is, and cannot say afterwards', async t => {
	t.deepEqual(
		await inProcess(
			'const number = ffi.OpenSSL_version_num();',
			'let reason;',
			"try { ffi.loadOpenssl('libssl.so.3'); } catch (error) { reason = error.name; }",
			'console.log(JSON.stringify([number > 0x10100000, reason]));',
		),
		[true, 'Panic'],
	);
});

test('a library that is not there is an error', async t => {
	const text = await inProcess(
		'let reason;',
		"try { ffi.loadOpenssl('libssl.so.99'); } catch (error) { reason = error.message; }",
		'console.log(JSON.stringify(reason));',
	);
	t.regex(String(text), /cannot open shared object file/);
});
