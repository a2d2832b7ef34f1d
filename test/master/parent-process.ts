/* What can be shown without a process; its life under master(8) is in test/daemon. */
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

test('parentProcessFrom reads every generation that master(8) can count', t => {
	fc.assert(
		fc.property(fc.integer({min: 0, max: 0xff_ff_ff_ff}), generation => {
			t.is(parentProcessFrom({GENERATION: generation.toString(8)}).generation, generation);
		}),
	);
});

test('parentProcessFrom takes a process without GENERATION for the first', t => {
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

test('parentProcessFrom knows the supervisor by its pid and the pipes to and from it', t => {
	const environment = {GENERATION: '1', TLSPROXY_SUPERVISOR: '4711 9 7'};
	t.deepEqual<object, object>(parentProcessFrom(environment), {
		pid: 4711,
		generation: 1,
		supervisor: {toSupervisor: 9, fromSupervisor: 7},
	});
});

test('parentProcessFrom takes the process itself for the one that master(8) knows when there is no supervisor', t => {
	t.deepEqual<object, object>(parentProcessFrom({GENERATION: '1'}), {
		pid: process.pid,
		generation: 1,
		supervisor: undefined,
	});
});

/** A supervisor that reads what is said into the other socket. */
const listening = (fd: Fd): SupervisorPipes => ({toSupervisor: fd, fromSupervisor: -1 as Fd});

const says = test.macro<[expected: string, run: (supervisor: SupervisorPipes) => void]>({
	exec(t, expected, run) {
		const [mine, theirs] = socketPair(t);
		run(listening(mine.fd));
		const size = readStream(theirs.fd);
		t.is(Buffer.from(buffer.bytes.subarray(0, size)).toString(), expected);
		t.is(readStream(theirs.fd), WANT_READ);
	},
	title(condition = '') {
		return condition;
	},
});

for (const status of [0, 1]) {
	test(`farewell tells the supervisor status ${status}, as a line`, says, `${status}\n`, supervisor =>
		notifyExit({pid: 1, generation: 1, supervisor}, status),
	);
}

test('say puts word and text in one line', says, 'check ["/a b"]\n', supervisor =>
	notifySupervisor({pid: 1, generation: 1, supervisor}, 'check', '["/a b"]'),
);

test('farewell to nobody, and to one who is gone, does no harm', t => {
	const [mine, theirs] = socketPair(t);
	theirs.close();
	t.notThrows(() => {
		notifyExit({pid: 1, generation: 1, supervisor: undefined}, 1);
		notifyExit({pid: 1, generation: 1, supervisor: listening(mine.fd)}, 1);
	});
});

/* They are those of master(8) only in a process of its. Node.js takes care of some by itself: undo that. */
test('setInheritedCloseOnExec keeps descriptors 3 to 6 and the pipes to the supervisor from other programs, and no others', t => {
	const program = `
		import {readFileSync} from 'node:fs';
		import koffi from 'koffi';
		import {setInheritedCloseOnExec} from ${JSON.stringify(new URL('../../src/master/parent-process.ts', import.meta.url).href)};
		const fcntl = koffi.load('libc.so.6').func('int fcntl(int fd, int cmd, ...)');
		const all = [3, 4, 5, 6, 7, 8, 9];
		for (const fd of all) {
			fcntl(fd, 2, 'int', 0);
		}
		const kept = () => all.filter(fd => /^flags:\\s*0*2[0-7]{6}$/m.test(readFileSync('/proc/self/fdinfo/' + fd, 'utf8')));
		const before = kept();
		setInheritedCloseOnExec({pid: 1, generation: 1, supervisor: {toSupervisor: 9, fromSupervisor: 7}});
		console.log(JSON.stringify([before, kept()]));
	`;
	const {stdout, stderr} = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
		stdio: ['ignore', 'pipe', 'pipe', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore', 'ignore'],
		encoding: 'utf8',
	});
	t.is(stdout, '[[],[3,4,5,6,7,9]]\n', stderr);
});
