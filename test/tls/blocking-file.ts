/* A file that can block the process must be recognized, and no file that stock can use may be refused. */
import {execFileSync} from 'node:child_process';
import {mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {createServer} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {toBytes} from '../../src/base/text.ts';
import {isBlockingFile} from '../../src/tls/blocking-file.ts';
import {makeFifo} from '../helpers/blocking.ts';

const directory = mkdtempSync(join(tmpdir(), 'blocking-'));
test.after.always(() => rmSync(directory, {recursive: true}));

const blocks = test.macro<[what: string, expected: boolean, make: (path: string) => unknown]>({
	exec(t, what, expected, make) {
		const path = join(directory, what.replaceAll(' ', '-'));
		make(path);
		t.is(isBlockingFile(toBytes(path)), expected);
		const link = `${path}-link`;
		symlinkSync(path, link);
		t.is(isBlockingFile(toBytes(link)), expected);
	},
	title(_, what, expected) {
		return `${what} ${expected ? 'blocks' : 'does not block'}, also through a link`;
	},
});

test(blocks, 'a FIFO', true, makeFifo);
test(blocks, 'a FIFO with a näme', true, makeFifo);
test(blocks, 'an endless device', true, path => symlinkSync('/dev/zero', path));
test(blocks, 'a block device', true, path => execFileSync('mknod', [path, 'b', '7', '200']));
test(blocks, 'the null device', false, path => symlinkSync('/dev/null', path));
test(blocks, 'a regular file', false, path => writeFileSync(path, ''));
test(blocks, 'a directory', false, path => mkdirSync(path));
test(blocks, 'no file', false, () => undefined);
test(blocks, 'a file below a file', false, path => {
	writeFileSync(`${path}-file`, '');
	symlinkSync(`${path}-file/name`, path);
});

test('a socket does not block', async t => {
	const path = join(directory, 'socket');
	const server = createServer();
	t.teardown(() => server.close());
	await new Promise<void>(resolve => {
		server.listen(path, resolve);
	});
	t.false(isBlockingFile(path));
});

test('a name ends at NUL, as in C', t => {
	const path = makeFifo(join(directory, 'before-nul'));
	t.true(isBlockingFile(`${path}\0after`));
	t.false(isBlockingFile(''));
});
