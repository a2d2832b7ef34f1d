import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test from 'ava';
import {execa} from 'execa';
import {neededLibraries} from '../../src/base/elf.ts';

const directory = mkdtempSync(join(tmpdir(), 'elf-'));
test.after.always(() => rmSync(directory, {recursive: true}));

test('neededLibraries lists libraries that the dynamic loader finds', async t => {
	const program = (await execa`which openssl`).stdout;
	const {stdout} = await execa`ldd ${program}`;
	const needed = neededLibraries(program);
	t.true(needed.some(name => name.startsWith('libssl.so.')));
	for (const name of needed) {
		t.true(stdout.includes(name), name);
	}
});

test('a file that is not a program, is damaged or absent needs no libraries', async t => {
	const program = readFileSync((await execa`which openssl`).stdout);
	const text = join(directory, 'text');
	writeFileSync(text, '#!/bin/sh\n');
	const short = join(directory, 'short');
	writeFileSync(short, program.subarray(0, 100));
	const headless = join(directory, 'headless');
	writeFileSync(headless, Buffer.concat([program.subarray(0, 32), Buffer.alloc(8, 0xff)]));
	const empty = join(directory, 'empty');
	writeFileSync(empty, '');
	for (const path of [text, short, headless, empty, join(directory, 'absent'), directory]) {
		t.deepEqual(neededLibraries(path), [], path);
	}
});
