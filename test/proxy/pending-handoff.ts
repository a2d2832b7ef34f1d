import test, {type ExecutionContext} from 'ava';
import {Finalizer} from '../../src/base/owned.ts';
import type {Seconds} from '../../src/base/units.ts';
import {releaseFeatures} from '../../src/conf/release.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {send} from '../../src/ffi/libc/libc.ts';
import {FormatErrors} from '../../src/proxy/format-errors.ts';
import type {CompleteHandoff} from '../../src/proxy/handoff.ts';
import {HandshakeLimiter, type HandshakeLimits} from '../../src/proxy/handshake-limits.ts';
import {PendingHandoff} from '../../src/proxy/pending-handoff.ts';
import type {SessionContext} from '../../src/proxy/session-context.ts';
import type {ConnectionParameters} from '../../src/tls/connection/open-connection.ts';
import {ClientSettingsParser} from '../../src/wire/client-settings.ts';
import type {Role} from '../../src/wire/request.ts';
import {recordedSettings} from '../helpers/client.ts';
import {socketPair} from '../helpers/descriptors.ts';
import {clientContextFor, collectLog, defaultStart} from '../helpers/openssl.ts';
import {printRequest} from '../helpers/wire.ts';

const ENDPOINT = '[192.0.2.1]:25';

function requestOf(role: Role) {
	return {
		remoteEndpoint: ENDPOINT,
		role,
		sendContext: true,
		probeOnly: false,
		handshakeTimeout: 30 as Seconds,
		sessionTimeout: 300 as Seconds,
		serverId: 'smtp',
	};
}

const serverHandoff: CompleteHandoff = {role: 'server', request: requestOf('server'), settings: undefined};
const clientHandoff: CompleteHandoff = {
	role: 'client',
	request: requestOf('client'),
	settings: recordedSettings(releaseFeatures('3.7.11')),
};

interface Fixture {
	readonly context: SessionContext;
	/** Hand-offs that were prepared. */
	readonly prepared: CompleteHandoff[];
	/** References to the SSL_CTX that have not been released. */
	readonly references: () => number;
	readonly limiter: HandshakeLimiter;
}

/** A session context whose parameters count their references. */
function fixture({
	release = '3.7.11',
	limits = {},
	refuse = false,
	onRelease = () => undefined,
}: {
	readonly release?: string;
	readonly limits?: Partial<HandshakeLimits>;
	readonly refuse?: boolean;
	readonly onRelease?: () => void;
} = {}): Fixture {
	const features = releaseFeatures(release);
	const clock = new DeadlineClock();
	const limiter = new HandshakeLimiter({perClient: 0, total: 0, ...limits}, clock);
	const prepared: CompleteHandoff[] = [];
	let references = 0;
	const parameters = {
		context: {
			retain() {
				references++;
				return new Finalizer(() => {
					references--;
					onRelease();
				});
			},
		},
	} as unknown as ConnectionParameters;
	const context = {
		features,
		settingsParser: new ClientSettingsParser(features),
		formatErrors: new FormatErrors(features),
		handshakeLimiter: limiter,
		clock,
		prepare(complete: CompleteHandoff) {
			prepared.push(complete);
			return refuse ? undefined : parameters;
		},
	} as unknown as SessionContext;
	return {context, prepared, references: () => references, limiter};
}

test.serial('receive returns started once, with the first input', t => {
	collectLog();
	const {context} = fixture();
	const [client, server] = socketPair(t);
	const pending = new PendingHandoff(context);
	t.is(pending.receive(server.fd), 'incomplete');
	const bytes = printRequest(requestOf('server'), context.features);
	const results: string[] = [];
	for (const byte of bytes) {
		send(client.fd, Uint8Array.of(byte), 1, 0);
		results.push(pending.receive(server.fd));
	}

	t.deepEqual(results, [
		'started',
		...Array.from({length: bytes.length - 2}, () => 'incomplete'),
		'complete',
	]);
});

test('receive returns complete when all input arrives together', t => {
	const {context} = fixture();
	const [client, server] = socketPair(t);
	const bytes = printRequest(requestOf('server'), context.features);
	send(client.fd, bytes, bytes.length, 0);
	t.is(new PendingHandoff(context).receive(server.fd), 'complete');
});

test('prepare retains the SSL_CTX and counts the handshake until disposal', t => {
	const {context, references, limiter} = fixture({limits: {perClient: 1}});
	const pending = new PendingHandoff(context);
	t.true(pending.prepare(context, serverHandoff));
	t.is(pending.fairnessKey, '192.0.2.1');
	t.is(references(), 1);
	t.is(limiter.admit('192.0.2.1', ENDPOINT), undefined);
	pending[Symbol.dispose]();
	pending[Symbol.dispose]();
	t.is(references(), 0);
	limiter.admit('192.0.2.1', ENDPOINT)?.[Symbol.dispose]();
	t.not(limiter.admit('192.0.2.1', ENDPOINT), undefined);
});

test('disposal ends the handshake even if the release of the SSL_CTX throws', t => {
	const {context, limiter} = fixture({
		limits: {total: 1},
		onRelease: () => {
			throw new Error('trouble');
		},
	});
	const pending = new PendingHandoff(context);
	t.true(pending.prepare(context, serverHandoff));
	t.throws(() => pending[Symbol.dispose](), {message: 'trouble'});
	t.not(limiter.admit('192.0.2.2', ENDPOINT), undefined);
});

test.serial('prepare refuses a handshake that exceeds a limit, and makes no parameters for it', t => {
	const log = collectLog();
	const {context, prepared} = fixture({limits: {perClient: 1}});
	const first = new PendingHandoff(context);
	const second = new PendingHandoff(context);
	t.true(first.prepare(context, serverHandoff));
	t.false(second.prepare(context, serverHandoff));
	t.is(prepared.length, 1);
	t.is(log.length, 1);
	const [, server] = socketPair(t);
	t.is(second.open(server.fd), undefined);
	second[Symbol.dispose]();
	first[Symbol.dispose]();
});

test('prepare does not limit the client role, and its handshakes have no key', t => {
	const {context, prepared} = fixture({limits: {perClient: 1, total: 1}});
	for (let count = 0; count < 3; count++) {
		const pending = new PendingHandoff(context);
		t.true(pending.prepare(context, clientHandoff));
		t.is(pending.fairnessKey, undefined);
	}

	t.is(prepared.length, 3);
});

test('prepare fails when the role refuses the hand-off, and disposal ends the handshake', t => {
	const {context, references, limiter} = fixture({refuse: true, limits: {total: 1}});
	const pending = new PendingHandoff(context);
	t.false(pending.prepare(context, serverHandoff));
	t.is(references(), 0);
	t.is(limiter.admit('192.0.2.2', ENDPOINT), undefined);
	pending[Symbol.dispose]();
	t.not(limiter.admit('192.0.2.2', ENDPOINT), undefined);
});

test('open makes a connection from the prepared parameters', t => {
	const [, peer] = socketPair(t);
	const {context} = fixture();
	const pending = new PendingHandoff(context);
	t.is(pending.open(peer.fd), undefined, 'before prepare');
	const parameters: ConnectionParameters = {
		role: 'client',
		context: clientContextFor(t),
		start: defaultStart,
		sessions: {
			digestLists: false,
			timeoutOf: () => undefined,
			find: () => t.fail(),
			store: () => t.fail(),
			remove: () => t.fail(),
		} as unknown as Extract<ConnectionParameters, {role: 'client'}>['sessions'],
	};
	t.true(pending.prepare({...context, prepare: () => parameters}, clientHandoff));
	const connection = pending.open(peer.fd);
	t.not(connection, undefined);
	connection?.[Symbol.dispose]();
	pending[Symbol.dispose]();
});

function linesOfEnd(t: ExecutionContext, release: string, refuse: boolean, handshakeDone: boolean) {
	const {context} = fixture({release, refuse});
	const pending = new PendingHandoff(context);
	const [client, server] = socketPair(t);
	const bytes = printRequest(requestOf('server'), context.features);
	send(client.fd, bytes, bytes.length, 0);
	pending.receive(server.fd);
	pending.prepare(context, serverHandoff);
	const log = collectLog();
	pending.logEnd(context, handshakeDone);
	pending[Symbol.dispose]();
	return log;
}

const FAILED = `TLS handshake failed for service=smtp peer=${ENDPOINT}`;
const DISCONNECT = `DISCONNECT ${ENDPOINT}`;

test.serial('logEnd logs a failed handshake, unless it is done', t => {
	t.deepEqual(linesOfEnd(t, '3.7.11', false, false), [FAILED, DISCONNECT]);
	t.deepEqual(linesOfEnd(t, '3.7.11', false, true), [DISCONNECT]);
});

test.serial('logEnd logs no failed handshake for a refused hand-off, in releases that do not', t => {
	const quiet = ['3.4.29', '3.7.11', '3.11.0', '3.12.0'].filter(
		release => releaseFeatures(release).quietRefusal,
	);
	t.true(quiet.length > 0 && quiet.length < 4);
	for (const release of ['3.4.29', '3.7.11', '3.11.0', '3.12.0']) {
		t.deepEqual(
			linesOfEnd(t, release, true, false),
			quiet.includes(release) ? [DISCONNECT] : [FAILED, DISCONNECT],
			release,
		);
	}
});
