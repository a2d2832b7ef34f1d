import {execFileSync} from 'node:child_process';
import {mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {ConfigurationError} from '../../src/base/errors.ts';
import {Configuration} from '../../src/conf/configuration.ts';
import {Tables, tableFiles} from '../../src/conf/tables.ts';
import {collectLog} from '../helpers/openssl.ts';

const directory = mkdtempSync(join(tmpdir(), 'tables-'));
test.after.always(() => rmSync(directory, {recursive: true}));
mkdirSync(join(directory, 'etc'));
writeFileSync(join(directory, 'etc', 'main.cf'), 'compatibility_level = 3.6\n');
writeFileSync(join(directory, 'etc', 'master.cf'), '');

function file(name: string, text: string): string {
	writeFileSync(join(directory, name), text);
	return join(directory, name);
}

const one = file('one', 'first\n');
const two = file('two', 'second\n');
const source = file('source', `Mx.Example.Com ${one}, ${two}\n.example.org ${two}\n`);
const postmap = (...args: readonly string[]): unknown =>
	execFileSync('/usr/sbin/postmap', ['-c', join(directory, 'etc'), ...args]);
postmap('-F', `hash:${source}`);
postmap('-F', `btree:${file('tree', `tree.example ${one}\n`)}`);
postmap(`hash:${file('plain', 'plain.example no base64\n')}`);

async function read(list: string): Promise<Tables> {
	return await Tables.read(
		new Configuration(
			new Map([
				['mail_version', '3.7.11'],
				['command_directory', '/usr/sbin'],
				['config_directory', join(directory, 'etc')],
				['tls_server_sni_maps', list],
			]),
		),
		'tls_server_sni_maps',
	);
}

function found(t: ExecutionContext, tables: Tables, key: string): string {
	const result = tables.find(key);
	t.is(result.kind, 'value');
	return result.kind === 'value' ? String(result.bytes) : '';
}

for (const type of ['hash', 'texthash', 'proxy:hash', 'proxy:texthash']) {
	test.serial(`a value of ${type} is the contents of the files`, async t => {
		const log = collectLog();
		const tables = await read(`${type}:${source}`);
		t.false(tables.empty);
		t.is(found(t, tables, 'mx.example.com'), 'first\n\nsecond\n');
		t.is(found(t, tables, 'MX.example.COM'), 'first\n\nsecond\n');
		t.is(found(t, tables, '.example.org'), 'second\n');
		t.deepEqual(tables.find('other.example.com'), {kind: 'nothing'});
		t.deepEqual(log, []);
	});
}

test.serial('a value of an inline table is the contents of the files', async t => {
	const tables = await read(`inline:{a.example=${one}, {b.example = ${two}, ${one}}}`);
	t.is(found(t, tables, 'a.example'), 'first\n');
	t.is(found(t, tables, 'b.example'), 'second\n\nfirst\n');
});

test.serial('the first table with the key provides the value', async t => {
	const tables = await read(`inline:{tree.example=${two}} btree:${join(directory, 'tree')} hash:${source}`);
	t.is(found(t, tables, 'tree.example'), 'second\n');
	t.is(found(t, tables, 'mx.example.com'), 'first\n\nsecond\n');
});

test.serial('an empty list finds nothing', async t => {
	const tables = await read('');
	t.true(tables.empty);
	t.deepEqual(tables.find('mx.example.com'), {kind: 'nothing'});
});

test.serial(
	'a lookup in a table that does not exist fails, and one in a table before it succeeds',
	async t => {
		const log = collectLog();
		const tables = await read(`inline:{a.example=${one}} hash:${directory}/nosuch`);
		t.deepEqual(log, [`warning: open database ${directory}/nosuch.db: No such file or directory`]);
		t.is(found(t, tables, 'a.example'), 'first\n');
		t.deepEqual(tables.find('b.example'), {kind: 'problem'});
		t.deepEqual(log.slice(1), [
			`warning: hash:${directory}/nosuch is unavailable. open database ${directory}/nosuch.db: No such file or directory`,
			`warning: hash:${directory}/nosuch lookup error for "b.example"`,
		]);
	},
);

test.serial('a lookup fails if the value is not base64', async t => {
	const log = collectLog();
	const tables = await read(`hash:${join(directory, 'plain')}`);
	t.deepEqual(tables.find('plain.example'), {kind: 'problem'});
	t.deepEqual(log, [
		`warning: table hash:${directory}/plain: key plain.example: malformed BASE64 value: no base64`,
	]);
});

test.serial('an entry whose file does not exist is skipped', async t => {
	const log = collectLog();
	const tables = await read(`texthash:${file('holes', `a.example ${directory}/nosuch\nb.example ${one}\n`)}`);
	t.deepEqual(tables.find('a.example'), {kind: 'nothing'});
	t.is(found(t, tables, 'b.example'), 'first\n');
	t.is(log.length, 1);
	t.regex(log[0] ?? '', /holes, a\.example: open .*nosuch: No such file or directory: skipping this entry$/);
});

test.serial('the warnings of postmap(1) are logged in the order of the tables', async t => {
	const log = collectLog();
	const [twice, alone] = [file('twice', `a.example ${one}\n`.repeat(2)), file('alone', 'b.example\n')];
	/* Postfix reads a file again if it has changed less than a second ago. */
	for (const path of [twice, alone]) {
		utimesSync(path, 1, 1);
	}

	const tables = await read(`texthash:${twice} texthash:${alone}`);
	t.is(found(t, tables, 'a.example'), 'first\n');
	t.deepEqual(log, [
		`warning: ${twice}, line 2: duplicate entry: "a.example"`,
		`warning: ${alone}, line 1: expected format: key whitespace value -- ignoring this line`,
	]);
});

for (const name of [`static:${one}`, `regexp:${one}`, 'proxy:static:x', `unionmap:{texthash:${source}}`]) {
	test.serial(`a table that cannot be listed is an error: ${name.split(':')[0]}`, async t => {
		collectLog();
		await t.throwsAsync(read(name), {
			instanceOf: ConfigurationError,
			message: /^tls_server_sni_maps: .* cannot be listed, and this program does not look up tables/,
		});
	});
}

test('tableFiles returns the files of tables that are files', t => {
	t.deepEqual(
		tableFiles('hash:/etc/sni, proxy:cdb:/etc/more lmdb:/etc/l texthash:/etc/text inline:{a=/b} static:x'),
		['/etc/sni.db', '/etc/more.cdb', '/etc/l.lmdb', '/etc/text'],
	);
	t.deepEqual(tableFiles(''), []);
});
