/* Faults that a test cannot cause from outside. Complete sessions are tested in test/daemon. */
import {setTimeout as delay} from 'node:timers/promises';
import test, {type ExecutionContext} from 'ava';
import {Panic} from '../../src/base/errors.ts';
import {END, WANT_READ} from '../../src/base/io-result.ts';
import type {Fd, Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {type Deadline, DeadlineClock, type DeadlineOwner} from '../../src/event/deadline.ts';
import {Reactor, type Watcher} from '../../src/event/reactor.ts';
import type {Registration} from '../../src/event/registration.ts';
import {buffer, readStream} from '../../src/event/stream.ts';
import {close, send} from '../../src/ffi/libc/libc.ts';
import {FormatErrors} from '../../src/proxy/format-errors.ts';
import {HandshakeLimiter} from '../../src/proxy/handshake-limits.ts';
import {Session} from '../../src/proxy/session.ts';
import type {SessionContext} from '../../src/proxy/session-context.ts';
import {ClientSettingsParser} from '../../src/wire/client-settings.ts';
import {greeting, printStatus} from '../../src/wire/request.ts';
import {type Held, socketPair} from '../helpers/descriptors.ts';
import {collectLog} from '../helpers/openssl.ts';
import {printRequest} from '../helpers/wire.ts';

const features = releaseFeatures('3.7.11');

function contextFor(reactor: Reactor): SessionContext & {readonly endedSessions: () => number} {
	const clock = new DeadlineClock();
	let ended = 0;
	return {
		features,
		settingsParser: new ClientSettingsParser(features),
		formatErrors: new FormatErrors(features),
		reactor,
		clock,
		handshakeLimiter: new HandshakeLimiter({perClient: 0, total: 0}, clock),
		prepare: () => undefined,
		serves: () => true,
		ended() {
			ended++;
		},
		endedSessions: () => ended,
	};
}

function reactorFor(t: ExecutionContext, reactor: Reactor): Reactor {
	t.teardown(() => reactor[Symbol.dispose]());
	return reactor;
}

/* epoll(7) has a limit, fs.epoll.max_user_watches, that all programs of the mail owner share. */
test.serial('a session whose descriptor cannot be watched ends with a warning', t => {
	const log = collectLog();
	const [mine, theirs] = socketPair(t);
	class FullReactor extends Reactor {
		override watchInput(): never {
			throw new Panic('epoll_ctl: No space left on device');
		}
	}

	const context = contextFor(reactorFor(t, new FullReactor(close)));
	t.notThrows(() => Session.open(context, mine.move()));
	t.is(readStream(theirs.fd), END);
	t.is(context.endedSessions(), 1);
	t.deepEqual(log, ['warning: session unknown: epoll_ctl: No space left on device']);
});

/** Waits for input, for a minute at most. */
async function input(socket: Held): Promise<Buffer | typeof END> {
	for (const limit = performance.now() + 60_000; performance.now() < limit; ) {
		const size = readStream(socket.fd);
		if (size !== WANT_READ) {
			return size > 0 ? Buffer.from(buffer.bytes.subarray(0, size)) : END;
		}

		await delay(1);
	}

	throw new Error('no input');
}

/** A hand-off that is refused, up to its status. */
async function refusedSession(t: ExecutionContext, context: SessionContext): Promise<Held> {
	const [mine, theirs] = socketPair(t);
	Session.open(context, mine.move());
	t.deepEqual(await input(theirs), Buffer.from(greeting(features) ?? []));
	const bytes = printRequest(
		{
			remoteEndpoint: '[192.0.2.1]:25',
			role: 'server',
			sendContext: true,
			probeOnly: false,
			handshakeTimeout: 30 as Seconds,
			sessionTimeout: 300 as Seconds,
			serverId: 'smtp',
		},
		features,
	);
	send(theirs.fd, bytes, bytes.length, 0);
	t.deepEqual(await input(theirs), Buffer.from(printStatus(0)));
	return theirs;
}

async function eventually(condition: () => boolean): Promise<void> {
	for (const limit = performance.now() + 60_000; !condition() && performance.now() < limit; ) {
		await delay(1);
	}
}

const LAST_LINES = ['TLS handshake failed for service=smtp peer=[192.0.2.1]:25', 'DISCONNECT [192.0.2.1]:25'];

test.serial(
	'an exception in the release of a resource is logged, and the session ends as always',
	async t => {
		const log = collectLog();
		class FaultyReactor extends Reactor {
			override watchInput(fd: Fd, watcher: Watcher): Registration {
				const registration = super.watchInput(fd, watcher);
				return {
					set writeInterest(wanted: boolean) {
						registration.writeInterest = wanted;
					},
					[Symbol.dispose]() {
						registration[Symbol.dispose]();
						throw new Error('trouble');
					},
				} as Partial<Registration> as Registration;
			}
		}

		const context = contextFor(reactorFor(t, new FaultyReactor(close)));
		const other = await refusedSession(t, context);
		const client = await refusedSession(t, context);
		log.length = 0;
		client.close();
		await eventually(() => context.endedSessions() > 0);
		t.is(context.endedSessions(), 1);
		t.deepEqual(log, ['warning: session [192.0.2.1]:25: trouble', ...LAST_LINES]);
		/* The other session continues, and the process accepts new ones. */
		t.is(readStream(other.fd), WANT_READ);
		const next = await refusedSession(t, context);
		for (const socket of [next, other]) {
			socket.close();
		}

		await eventually(() => context.endedSessions() === 3);
		t.is(context.endedSessions(), 3);
	},
);

test.serial(
	'an exception in the release of a resource when the time limit expires stays in its session',
	async t => {
		const log = collectLog();
		let owner: DeadlineOwner | undefined;
		class FaultyClock extends DeadlineClock {
			override deadlineOf(deadlineOwner: DeadlineOwner): Deadline {
				const deadline = super.deadlineOf(deadlineOwner);
				owner = deadlineOwner;
				return {
					arm: () => undefined,
					[Symbol.dispose]() {
						deadline[Symbol.dispose]();
						throw new Error('trouble');
					},
				} as Partial<Deadline> as Deadline;
			}
		}

		const context = {...contextFor(reactorFor(t, new Reactor(close))), clock: new FaultyClock()};
		const client = await refusedSession(t, context);
		log.length = 0;
		t.notThrows(() => owner?.expired());
		t.is(context.endedSessions(), 1);
		t.is(await input(client), END);
		t.deepEqual(log, ['warning: session [192.0.2.1]:25: trouble', ...LAST_LINES]);
		t.notThrows(() => owner?.expired(), 'a closed session ignores events');
		t.is(context.endedSessions(), 1);
	},
);
