/*++
/* NAME
/*	open-connection 3
/* SUMMARY
/*	prepares the TLS connection of a hand-off
/* DESCRIPTION
/*	A role selects the SSL_CTX and the settings for a hand-off before
/*	the descriptor of the remote peer has arrived. The result is a
/*	plain value. openConnection() prepares a connection from this value
/*	and the descriptor.
/* SEE ALSO
/*	client-connection(3), server-connection(3)
/*--*/

import type {Fd} from '../../base/units.ts';
import type {ClientStart} from '../../wire/client-settings.ts';
import type {ClientContext} from '../context/client-context.ts';
import type {ServerContext} from '../context/server-context.ts';
import type {SessionStore} from '../resume/client-resumption.ts';
import {openClientConnection} from './client-connection.ts';
import type {Connection} from './connection.ts';
import {openServerConnection, type ServerConnectionSettings} from './server-connection.ts';

/**
 * Everything that a connection needs, except the descriptor of its peer. The SSL_CTX is borrowed: it must be
 * retained until the connection is open, because its cache may drop it.
 */
export type ConnectionParameters =
	| {
			readonly role: 'client';
			readonly context: ClientContext;
			readonly start: ClientStart;
			/** Where sessions are looked up and stored; borrowed. */
			readonly sessions: SessionStore;
	  }
	| {readonly role: 'server'; readonly context: ServerContext; readonly start: ServerConnectionSettings};

/**
 * Prepares a connection.
 *
 * @param fd - the peer's descriptor, non-blocking; borrowed, must outlive the connection.
 * @returns the connection, owned by the caller; undefined if it cannot be prepared: the reason has been logged.
 */
export function openConnection(parameters: ConnectionParameters, fd: Fd): Connection | undefined {
	return parameters.role === 'client'
		? openClientConnection(parameters.context, parameters.start, fd, parameters.sessions)
		: openServerConnection(parameters.context, parameters.start, fd);
}
