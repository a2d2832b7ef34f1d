import test from 'ava';
import fc from 'fast-check';
import {Panic} from '../../src/base/errors.ts';
import {type Action, type Event, next, type State} from '../../src/proxy/state.ts';

/* Complete lists: a new state or event is a type error here. */
const states = Object.keys({
	'awaiting-request': 1,
	answered: 1,
	'awaiting-descriptor': 1,
	'looking-up': 1,
	handshaking: 1,
	proxying: 1,
	closing: 1,
	closed: 1,
} satisfies Record<State, 1>) as readonly State[];
const events = Object.keys({
	accepted: 1,
	refused: 1,
	available: 1,
	descriptor: 1,
	'looked-up': 1,
	'lookup-needed': 1,
	'handshake-done': 1,
	'plaintext-end': 1,
	'ciphertext-end': 1,
	'shutdown-done': 1,
	failure: 1,
} satisfies Record<Event, 1>) as readonly Event[];

const table: ReadonlyArray<readonly [State, Event, State, readonly Action[]]> = [
	['awaiting-request', 'accepted', 'awaiting-descriptor', ['send-status-1']],
	['awaiting-request', 'refused', 'answered', ['send-status-0']],
	['awaiting-request', 'available', 'answered', ['send-status-1']],
	['awaiting-request', 'failure', 'closed', ['release']],
	['answered', 'plaintext-end', 'closed', ['release']],
	['answered', 'failure', 'closed', ['release']],
	['awaiting-descriptor', 'descriptor', 'looking-up', ['look-up']],
	['looking-up', 'looked-up', 'handshaking', ['start-handshake']],
	['looking-up', 'failure', 'closed', ['release']],
	['awaiting-descriptor', 'failure', 'closed', ['release']],
	['handshaking', 'handshake-done', 'proxying', ['send-report', 'open-plaintext']],
	['handshaking', 'lookup-needed', 'looking-up', ['look-up']],
	['handshaking', 'failure', 'closed', ['release']],
	['proxying', 'plaintext-end', 'closing', ['shutdown']],
	['proxying', 'ciphertext-end', 'closed', ['release']],
	['proxying', 'failure', 'closed', ['release']],
	['closing', 'shutdown-done', 'closed', ['release']],
	['closing', 'failure', 'closed', ['release']],
];

for (const [state, event, after, actions] of table) {
	test(`next goes from ${state} to ${after} on ${event}: ${actions.join(', ')}`, t => {
		t.deepEqual(next(state, event), {state: after, actions});
	});
}

test('next sends the report before data', t => {
	t.deepEqual(next('handshaking', 'handshake-done').actions, ['send-report', 'open-plaintext']);
});

for (const event of events) {
	test(`next ignores ${event} in state closed`, t => {
		t.deepEqual(next('closed', event), {state: 'closed', actions: []});
	});
}

for (const state of states) {
	const known = table.filter(([from]) => from === state).map(([, event]) => event);
	for (const event of state === 'closed' ? [] : events.filter(name => !known.includes(name))) {
		test(`next panics on ${event} while ${state}`, t => {
			t.throws(() => next(state, event), {instanceOf: Panic, message: `${event} while ${state}`});
		});
	}
}

const eventSequence = fc.array(fc.constantFrom(...events), {maxLength: 40});

/** Applies a sequence of events, without those that panic. */
function run(sequence: readonly Event[], visit: (state: State, actions: readonly Action[]) => void): State {
	let state: State = 'awaiting-request';
	for (const event of sequence) {
		try {
			const transition = next(state, event);
			state = transition.state;
			visit(state, transition.actions);
		} catch (reason) {
			if (!(reason instanceof Panic)) {
				throw reason;
			}
		}
	}

	return state;
}

test('no sequence of events makes next throw anything but a Panic', t => {
	fc.assert(
		fc.property(eventSequence, sequence => {
			t.true(states.includes(run(sequence, () => undefined)));
		}),
	);
});

test('no sequence of events leads out of closed', t => {
	fc.assert(
		fc.property(eventSequence, sequence => {
			let closed = false;
			run(sequence, (state, actions) => {
				if (closed) {
					t.is(state, 'closed');
					t.deepEqual(actions, []);
				}

				closed ||= state === 'closed';
			});
		}),
	);
});

test('every sequence of events releases once if it closes, and never otherwise', t => {
	fc.assert(
		fc.property(eventSequence, sequence => {
			const all: Action[] = [];
			const last = run(sequence, (_, actions) => all.push(...actions));
			t.is(all.filter(action => action === 'release').length, last === 'closed' ? 1 : 0);
		}),
	);
});

test('every sequence of events that fails once ends closed', t => {
	fc.assert(
		fc.property(eventSequence, eventSequence, (before, after) => {
			t.is(
				run([...before, 'failure', ...after], () => undefined),
				'closed',
			);
		}),
	);
});

test('no sequence of events moves data before a descriptor, a handshake and the report', t => {
	const complete: readonly Action[] = [
		'send-status-1',
		'look-up',
		'start-handshake',
		'send-report',
		'open-plaintext',
		'shutdown',
	];
	fc.assert(
		fc.property(eventSequence, sequence => {
			const all: Action[] = [];
			run(sequence, (_, actions) => all.push(...actions));
			/* A handshake may need lookups in between. */
			const mainActions = all.filter(
				(action, index) =>
					action !== 'send-status-0' &&
					action !== 'release' &&
					!(action === 'look-up' && all[index - 1] === 'start-handshake') &&
					!(action === 'start-handshake' && all[index - 2] === 'start-handshake'),
			);
			t.deepEqual(mainActions, complete.slice(0, mainActions.length));
		}),
	);
});
