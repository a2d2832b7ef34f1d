import type {ExecutionContext} from 'ava';
import type {Seconds} from '../../src/base/units.ts';
import {type ClientConnection, openClientConnection} from '../../src/tls/connection/client-connection.ts';
import {DONE} from '../../src/tls/connection/connection.ts';
import type {ClientContext} from '../../src/tls/context/client-context.ts';
import type {Resumption, SessionStore} from '../../src/tls/resume/client-resumption.ts';
import type {StoredSession} from '../../src/tls/resume/stored-session.ts';
import type {ClientStart} from '../../src/wire/client-settings.ts';
import {clientContextFor, connectTo, defaultStart, finish, lineFrom} from './openssl.ts';

/** Records and owns the stored sessions. A lookup returns `next`, and the caller owns it. */
export class RecordingStore implements SessionStore, Disposable {
	readonly digestLists = false;
	readonly stored: StoredSession[] = [];
	next: StoredSession | undefined;
	/** Lookups do not complete before {@link complete}. */
	delayed = false;
	lookups = 0;
	removals = 0;
	#done: ((session: StoredSession | undefined) => void) | undefined;

	find(_: Resumption, done: (session: StoredSession | undefined) => void): void {
		this.lookups++;
		if (this.delayed) {
			this.#done = done;
			return;
		}

		const session = this.next;
		this.next = undefined;
		done(session);
	}

	/** Completes the delayed lookup. */
	complete(session: StoredSession | undefined): void {
		this.#done?.(session);
	}

	store(_: Resumption, session: StoredSession): void {
		this.stored.push(session);
	}

	remove(): void {
		this.removals++;
		this.next?.[Symbol.dispose]();
		this.next = undefined;
	}

	[Symbol.dispose](): void {
		this.next?.[Symbol.dispose]();
		for (const session of this.stored.splice(0)) {
			session[Symbol.dispose]();
		}
	}
}

/** An SSL_CTX whose sessions are stored. */
export function resumingContext(t: ExecutionContext): ClientContext {
	return clientContextFor(t, {}, {}, {timeout: 3600 as Seconds, scope: ''});
}

/** A connection whose sessions are stored, before its lookup. */
export function connectionWith(
	t: ExecutionContext,
	port: number,
	sessions: RecordingStore,
	context: ClientContext,
	start: Partial<ClientStart> = {},
): ClientConnection {
	const connection = openClientConnection(
		context,
		{...defaultStart, ...start},
		connectTo(t, port).value,
		sessions,
	);
	if (connection === undefined) {
		throw new Error('cannot prepare the connection');
	}

	t.teardown(() => connection[Symbol.dispose]());
	return connection;
}

/** A session store with one session of a server. */
export async function storeWithSession(
	t: ExecutionContext,
	port: number,
	context: ClientContext,
): Promise<RecordingStore> {
	const sessions = new RecordingStore();
	t.teardown(() => sessions[Symbol.dispose]());
	const connection = connectionWith(t, port, sessions, context);
	connection.lookUp(() => undefined);
	t.is(await finish(() => connection.handshake()), DONE);
	connection.report();
	t.is(connection.write(Buffer.from('abc\n'), 4), 4);
	t.is(await lineFrom(connection), 'cba\n');
	connection.shutdown();
	connection[Symbol.dispose]();
	t.true(sessions.stored.length > 0);
	return sessions;
}
