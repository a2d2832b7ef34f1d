/*++
/* NAME
/*	open-connection 3
/* SUMMARY
/*	makes the connection of either role
/* DESCRIPTION
/*	A role decides with which SSL_CTX and which settings a hand-off is
/*	served, before the descriptor of the remote peer has arrived. That
/*	decision is a plain value; openConnection() makes a connection
/*	from it and the descriptor.
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
import {openServerConnection, type ServerChoice} from './server-connection.ts';

/**
 * Everything that a connection is made with, except the descriptor of its peer. The SSL_CTX is borrowed: it
 * has to be retained until the connection is open, because its cache may drop it before.
 */
export type ConnectionParameters =
	| {
			readonly role: 'client';
			readonly context: ClientContext;
			readonly start: ClientStart;
			/** Where sessions are looked up and stored; borrowed. */
			readonly sessions: SessionStore;
	  }
	| {readonly role: 'server'; readonly context: ServerContext; readonly start: ServerChoice};

/**
 * Prepares a connection.
 *
 * @param fd - the peer's descriptor, non-blocking; borrowed, it has to outlive the connection.
 * @returns undefined when that is not possible; the reason has been logged.
 */
export function openConnection(parameters: ConnectionParameters, fd: Fd): Connection | undefined {
	return parameters.role === 'client'
		? openClientConnection(parameters.context, parameters.start, fd, parameters.sessions)
		: openServerConnection(parameters.context, parameters.start, fd);
}
