/* Sessions from end to end are in test/daemon; here is what a test cannot do to a kernel. */
import test from 'ava';
import {Panic} from '../../src/base/errors.ts';
import {END} from '../../src/base/io-result.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {readStream} from '../../src/event/stream.ts';
import {HandshakeLimiter} from '../../src/proxy/handshake-limits.ts';
import {Session} from '../../src/proxy/session.ts';
import type {SessionContext} from '../../src/proxy/session-context.ts';
import {socketPair} from '../helpers/descriptors.ts';
import {collectLog} from '../helpers/openssl.ts';

/* epoll(7) has a limit, fs.epoll.max_user_watches, that all programs of the mail owner share. */
test('a session whose descriptor cannot be watched ends, with a warning, and nobody else does', t => {
	const log = collectLog();
	const [mine, theirs] = socketPair(t);
	const clock = new DeadlineClock();
	let ended = 0;
	const context = {
		features: releaseFeatures('3.7.11'),
		reactor: {
			watchInput() {
				throw new Panic('epoll_ctl: No space left on device');
			},
		},
		clock,
		handshakeLimiter: new HandshakeLimiter({perClient: 0, total: 0}, clock),
		ended: () => ended++,
	} as unknown as SessionContext;
	t.notThrows(() => Session.open(context, mine.move()));
	t.is(readStream(theirs.fd), END);
	t.is(ended, 1);
	t.deepEqual(log, ['warning: session unknown: epoll_ctl: No space left on device']);
});
