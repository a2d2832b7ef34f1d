/* Processes under master(8) are tested in test/daemon. */
import {spawnSync} from 'node:child_process';
import test from 'ava';
import fc from 'fast-check';
import {Panic} from '../../src/base/errors.ts';
import {WANT_READ} from '../../src/base/io-result.ts';
import type {Fd} from '../../src/base/units.ts';
import {buffer, readStream} from '../../src/event/stream.ts';
import {
	notifyExit,
	notifySupervisor,
	parentProcessFrom,
	type SupervisorPipes,
} from '../../src/master/parent-process.ts';
import {socketPair} from '../helpers/descriptors.ts';

test('parentProcessFrom reads GENERATION as octal', t => {
	t.is(parentProcessFrom({GENERATION: '17'}).generation, 15);
	t.is(parentProcessFrom({GENERATION: '00'}).generation, 0);
	t.is(parentProcessFrom({GENERATION: '37777777777'}).generation, 0xff_ff_ff_ff);
});

test('parentProcessFrom reads every generation of 32 bits', t => {
	fc.assert(
		fc.property(fc.integer({min: 0, max: 0xff_ff_ff_ff}), generation => {
			t.is(parentProcessFrom({GENERATION: generation.toString(8)}).generation, generation);
		}),
	);
});

test('parentProcessFrom uses generation 0 without GENERATION', t => {
	t.is(parentProcessFrom({}).generation, 0);
});

for (const bad of ['', '8', '1x', ' 1', '-1', '0x1', '1.0']) {
	test(`parentProcessFrom panics on GENERATION "${bad}"`, t => {
		t.throws(() => parentProcessFrom({GENERATION: bad}), {
			instanceOf: Panic,
			message: `bad generation: ${bad}`,
		});
	});
}

test('parentProcessFrom reads process id and pipes of the supervisor', t => {
	const environment = {GENERATION: '1', TLSPROXY_SUPERVISOR: '4711 9 7'};
	t.deepEqual<object, object>(parentProcessFrom(environment), {
		pid: 4711,
		generation: 1,
		replacement: false,
		supervisor: {toSupervisor: 9, fromSupervisor: 7},
	});
});

test('parentProcessFrom uses the id of this process without a supervisor', t => {
	t.deepEqual<object, object>(parentProcessFrom({GENERATION: '1'}), {
		pid: process.pid,
		generation: 1,
		replacement: false,
		supervisor: undefined,
	});
});

/** A supervisor that reads from the other socket. */
const supervisorAt = (fd: Fd): SupervisorPipes => ({toSupervisor: fd, fromSupervisor: -1 as Fd});

const sends = test.macro<[expected: string, run: (supervisor: SupervisorPipes) => void]>({
	exec(t, expected, run) {
		const [mine, theirs] = socketPair(t);
		run(supervisorAt(mine.fd));
		const size = readStream(theirs.fd);
		t.is(Buffer.from(buffer.bytes.subarray(0, size)).toString(), expected);
		t.is(readStream(theirs.fd), WANT_READ);
	},
	title(condition = '') {
		return condition;
	},
});

for (const status of [0, 1]) {
	test(`notifyExit sends status ${status} as a line`, sends, `${status}\n`, supervisor =>
		notifyExit({pid: 1, generation: 1, replacement: false, supervisor}, status),
	);
}

test('notifySupervisor sends name and text in one line', sends, 'check ["/a b"]\n', supervisor =>
	notifySupervisor({pid: 1, generation: 1, replacement: false, supervisor}, 'check', '["/a b"]'),
);

test('notifyExit ignores a missing supervisor and one that has ended', t => {
	const [mine, theirs] = socketPair(t);
	theirs.close();
	t.notThrows(() => {
		notifyExit({pid: 1, generation: 1, replacement: false, supervisor: undefined}, 1);
		notifyExit({pid: 1, generation: 1, replacement: false, supervisor: supervisorAt(mine.fd)}, 1);
	});
});

/* In a child process, because the descriptor numbers are fixed. Node.js sets close-on-exec for some of them: undo that. */
test('setInheritedCloseOnExec affects descriptors 3 to 6 and the pipes to the supervisor only', t => {
	const program = `
		import {readFileSync} from 'node:fs';
		import koffi from 'koffi';
		import {setInheritedCloseOnExec} from ${JSON.stringify(new URL('../../src/master/parent-process.ts', import.meta.url).href)};
		const fcntl = koffi.load('libc.so.6').func('int fcntl(int fd, int cmd, ...)');
		const all = [3, 4, 5, 6, 7, 8, 9];
		for (const fd of all) {
			fcntl(fd, 2, 'int', 0);
		}
		const closedOnExec = () => all.filter(fd => /^flags:\\s*0*2[0-7]{6}$/m.test(readFileSync('/proc/self/fdinfo/' + fd, 'utf8')));
		const before = closedOnExec();
		setInheritedCloseOnExec({pid: 1, generation: 1, replacement: false, supervisor: {toSupervisor: 9, fromSupervisor: 7}});
		console.log(JSON.stringify([before, closedOnExec()]));
	`;
	const {stdout, stderr} = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
		stdio: ['ignore', 'pipe', 'pipe', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore'],
		encoding: 'utf8',
	});
	t.is(stdout, '[[],[3,4,5,6,7,9]]\n', stderr);
});
