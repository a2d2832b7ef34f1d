import {execFileSync, spawn} from 'node:child_process';
import {closeSync, constants, mkdtempSync, openSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import type {Fd} from '../../src/base/units.ts';
import {readPrefetchedConfig} from '../../src/boot/prefetched-config.ts';
import {errno, read} from '../../src/ffi/libc/libc.ts';

/** The end of a pipe that is read. A script writes into the other. */
function pipeFrom(t: ExecutionContext, script: string): Fd {
	const directory = mkdtempSync(join(tmpdir(), 'offer-'));
	const path = join(directory, 'pipe');
	execFileSync('mkfifo', [path]);
	const ours = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK) as Fd;
	const theirs = openSync(path, 'w');
	rmSync(directory, {recursive: true});
	const child = spawn('sh', ['-c', script], {stdio: ['ignore', theirs, 'inherit']});
	t.teardown(() => child.kill());
	closeSync(theirs);
	return ours;
}

test('readOffer reads to the end, however much there is and whenever it comes', t => {
	const ours = pipeFrom(t, 'for n in 1 2 3; do head -c 100000 /dev/zero | tr "\\0" $n; sleep 0.1; done');
	t.is(readPrefetchedConfig(ours), ['1', '2', '3'].map(digit => digit.repeat(100_000)).join(''));
});

test('readOffer of a pipe that ends at once is nothing, and closes it', t => {
	const EBADF = 9;
	const ours = pipeFrom(t, 'exit');
	t.is(readPrefetchedConfig(ours), '');
	t.is(read(ours, new Uint8Array(128), 1), -1);
	t.is(errno(), EBADF);
});
