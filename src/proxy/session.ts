/*++
/* NAME
/*	session 3
/* SUMMARY
/*	one hand-off, from accept to close
/* DESCRIPTION
/*	A session owns two descriptors, a TLS connection, their readiness
/*	and a time limit, all of them as Resources: their disposal is the
/*	only way to end a session, and happens once. It tells state(3)
/*	what has happened and performs what that decides.
/*
/*	One session cannot reach another: what it throws comes back to
/*	itself, is logged as a warning, and ends it.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import {AGAIN, WANT_LOOKUP, WANT_READ, WANT_WRITE} from '../base/io-result.ts';
import {type Owned, Resources} from '../base/owned.ts';
import type {Fd, Milliseconds} from '../base/units.ts';
import type {Deadline, DeadlineOwner} from '../event/deadline.ts';
import type {Task} from '../event/reactor.ts';
import type {Registration} from '../event/registration.ts';
import {readStream, receiveDescriptor, writeStream} from '../event/stream.ts';
import {info, verbose, warning} from '../log/log.ts';
import {type Connection, DONE} from '../tls/connection/connection.ts';
import {printReport} from '../wire/handshake-report.ts';
import {greeting, printStatus} from '../wire/request.ts';
import {
	descriptorProblemLine,
	disconnectLine,
	faultLine,
	reportProblemLine,
	timeoutLine,
} from './log-lines.ts';
import {PendingHandoff} from './pending-handoff.ts';
import {CIPHERTEXT_ENDED, MORE, PLAINTEXT_ENDED, Pump} from './pump.ts';
import type {SessionContext} from './session-context.ts';
import {CiphertextSide, PlaintextSide, type TwoSided} from './sides.ts';
import {type Action, type Event, next, type State} from './state.ts';
import {
	greetingTimeout,
	handshakeTimeout,
	REQUEST_TIMEOUT,
	SETUP_TIMEOUT,
	sessionTimeout,
} from './timeouts.ts';

/** One hand-off. */
export class Session implements Task, TwoSided, DeadlineOwner {
	readonly #context: SessionContext;
	readonly #resources = new Resources();
	readonly #plaintext: Fd;
	readonly #deadline: Deadline;
	#watch: Registration | undefined;
	/* Up to the report. */
	#pending: PendingHandoff | undefined;
	/* From the end of the handshake on: the peer, and how long there may be nothing to move. */
	#endpoint = '';
	#limit = 0 as Milliseconds;
	#state: State = 'awaiting-request';
	#connection: Connection | undefined;
	#pump: Pump | undefined;
	#queued = false;

	/**
	 * Greets a client and waits for its request. From then on the session keeps itself alive: the reactor
	 * and the clock hold it, until it tells the host that it has ended.
	 *
	 * @param plaintext - connection from the client, non-blocking; moved in.
	 */
	static open(context: SessionContext, plaintext: Owned<Fd>): void {
		const session = new Session(context, plaintext);
		session.#guard(() => session.#begin());
	}

	private constructor(context: SessionContext, plaintext: Owned<Fd>) {
		this.#context = context;
		this.#plaintext = this.#resources.use(plaintext.move()).value;
		this.#deadline = this.#resources.use(context.clock.deadlineOf(this));
		this.#pending = this.#resources.use(new PendingHandoff(context));
	}

	#begin(): void {
		const watch = this.#context.reactor.watchInput(this.#plaintext, new PlaintextSide(this));
		this.#watch = this.#resources.use(watch);
		this.#deadline.arm(greetingTimeout(this.#context.features));
		const hello = greeting(this.#context.features);
		if (hello !== undefined && writeStream(this.#plaintext, hello, hello.length) !== hello.length) {
			warning('write protocol attribute: Broken pipe');
			this.#happened('failure');
		}
	}

	/** One step of expensive or left-over work: for the reactor only. */
	step(): void {
		this.#queued = false;
		Session.#steps[this.#state]?.(this);
	}

	static readonly #steps: Readonly<Partial<Record<State, (session: Session) => void>>> = {
		'awaiting-request': session => session.#receiveRequest(),
		'awaiting-descriptor': session => session.#receiveDescriptor(),
		handshaking: session => session.#handshake(),
		proxying: session => session.#move(),
	};

	/** A call of this session's threw: for the reactor only. */
	fault(reason: unknown): void {
		if (this.#state === 'closed') {
			return;
		}

		warning(faultLine(this.#peer, reason));
		this.#happened('failure');
	}

	/* Its name in the log, as soon as there is one. */
	get #peer(): string | undefined {
		return this.#pending === undefined ? this.#endpoint : this.#pending.handoff.names?.remoteEndpoint;
	}

	/* Performs what state(3) decides. */
	#happened(event: Event): void {
		const {state, actions} = next(this.#state, event);
		verbose(() => `session ${this.#peer ?? this.#plaintext}: ${event}: ${this.#state} -> ${state}`);
		this.#state = state;
		for (const action of actions) {
			Session.#perform[action](this);
		}
	}

	static readonly #perform: Readonly<Record<Action, (session: Session) => void>> = {
		'send-status-1': session => session.#sendStatus(1),
		'send-status-0': session => session.#sendStatus(0),
		'look-up': session => session.#lookUp(),
		'start-handshake': session => session.#startHandshake(),
		'send-report': session => session.#sendReport(),
		'open-plaintext': session => session.#move(),
		shutdown: session => session.#shutdown(),
		release: session => session.#release(),
	};

	/**
	 * For its side only. A request costs as much as a step of a handshake: served among the events, data would
	 * wait for all of them. In the handshake the client waits: what it sends is found when the pump starts.
	 */
	plaintextReady(readable: boolean, writable: boolean): void {
		if (this.#state === 'proxying') {
			this.#pump?.plaintextReady(readable, writable);
			this.#move();
		} else if (!readable) {
			return;
		} else if (this.#state === 'awaiting-request' || this.#state === 'awaiting-descriptor') {
			this.#queue();
		} else if (this.#state === 'answered' && readStream(this.#plaintext) !== WANT_READ) {
			this.#happened('plaintext-end');
		}
	}

	/** For its side only. */
	ciphertextReady(readable: boolean, writable: boolean): void {
		const pending = this.#pending;
		if (pending !== undefined) {
			pending.due ||= pending.wantsWritable ? writable : readable;
		}

		if (this.#state === 'handshaking') {
			this.#queue();
		} else if (this.#state === 'proxying') {
			this.#pump?.ciphertextReady(readable, writable);
			this.#move();
		} else if (this.#state === 'closing') {
			this.#shutdown();
		}
	}

	#queue(): void {
		const handshaking = this.#state === 'handshaking';
		if (this.#queued || (handshaking && this.#pending?.due !== true)) {
			return;
		}

		this.#queued = true;
		if (handshaking) {
			this.#context.reactor.queue(this, this.#pending?.fairnessKey);
		} else {
			this.#context.reactor.soon(this);
		}
	}

	/* Request */

	#receiveRequest(): void {
		const progress = this.#pending?.receive(this.#plaintext);
		switch (progress) {
			case 'begun':
				return this.#deadline.arm(REQUEST_TIMEOUT);
			case 'more':
			case undefined:
				return;
			case 'complete':
				return this.#decide();
			case 'refused':
				return this.#happened('refused');
			case 'failed':
				return this.#happened('failure');
			default:
				progress satisfies never;
		}
	}

	#decide(): void {
		this.#deadline.arm(SETUP_TIMEOUT);
		const {complete, request} = this.#pending?.handoff ?? {};
		if (complete !== undefined) {
			this.#happened(this.#pending?.prepare(this.#context, complete) === true ? 'accepted' : 'refused');
		} else if (request !== undefined) {
			this.#happened(this.#context.serves(request.role) ? 'available' : 'refused');
		}

		/*
		 * Readiness is told once. A client that had closed its side before we were
		 * through with its request would not be noticed before the time limit.
		 */
		this.plaintextReady(true, false);
	}

	#sendStatus(status: 0 | 1): void {
		const bytes = printStatus(status);
		if (writeStream(this.#plaintext, bytes, bytes.length) !== bytes.length) {
			this.#happened('failure');
		}
	}

	/* Descriptor */

	#receiveDescriptor(): void {
		const passed = receiveDescriptor(this.#plaintext);
		switch (passed.kind) {
			case 'want-read':
				return;
			case 'none':
				warning(descriptorProblemLine(passed.why));
				this.#happened('failure');
				return;
			case 'descriptor':
				this.#openConnection(this.#resources.use(passed.fd).value);
				return;
			default:
				passed satisfies never;
		}
	}

	#openConnection(ciphertext: Fd): void {
		const connection = this.#pending?.open(ciphertext);
		if (connection === undefined) {
			return this.#happened('failure');
		}

		this.#deadline.arm(handshakeTimeout(this.#pending?.handoff.request));
		this.#connection = this.#resources.use(connection);
		this.#resources.use(this.#context.reactor.watch(ciphertext, new CiphertextSide(this)));
		this.#happened('descriptor');
	}

	/* What the peer does meanwhile is found afterwards. */
	#lookUp(): void {
		this.#connection?.lookUp(() => {
			/* The session may be over by then. */
			if (this.#state === 'looking-up') {
				this.#guard(() => this.#happened('looked-up'));
			}
		});
	}

	/* Handshake */

	/*
	 * In the client role we begin, and that costs little. In the server role the peer
	 * does: its hello waits for its turn, and who says nothing needs no buffers.
	 */
	#startHandshake(): void {
		if (this.#pending?.fairnessKey === undefined) {
			this.#handshake();
		} else {
			this.#queue();
		}
	}

	#handshake(): void {
		const connection = this.#connection;
		const pending = this.#pending;
		const watch = this.#watch;
		if (connection === undefined || pending === undefined || watch === undefined) {
			return this.#happened('failure');
		}

		const outcome = connection.handshake(pending.due);
		pending.due = outcome === AGAIN || outcome === WANT_LOOKUP;
		pending.wantsWritable = outcome === WANT_WRITE;
		switch (outcome) {
			case WANT_READ:
			case WANT_WRITE:
				return;
			case AGAIN:
				return this.#queue();
			case WANT_LOOKUP:
				return this.#happened('question');
			case DONE:
				this.#limit = sessionTimeout(pending.handoff.request);
				this.#deadline.arm(this.#limit);
				this.#pump = this.#resources.use(new Pump(connection, this.#plaintext, watch));
				return this.#happened('handshake-done');
			default:
				this.#happened('failure');
		}
	}

	#sendReport(): void {
		const pending = this.#pending;
		const request = pending?.handoff.request;
		if (this.#connection === undefined || pending === undefined || request === undefined) {
			return;
		}

		const report = this.#connection.report();
		if (request.sendContext) {
			this.#pump?.queueReport(printReport(report, this.#context.features));
		}

		this.#endpoint = request.remoteEndpoint;
		this.#pending = undefined;
		this.#resources.release(pending);
	}

	/* Data */

	#move(): void {
		const pump = this.#pump;
		if (pump === undefined) {
			return;
		}

		const before = pump.moved;
		const result = pump.run();
		if (pump.moved !== before) {
			this.#deadline.arm(this.#limit);
		}

		if (result === MORE) {
			this.#queue();
		} else if (result === PLAINTEXT_ENDED) {
			if (!pump.reportSent) {
				warning(reportProblemLine('Broken pipe'));
			}

			this.#happened('plaintext-end');
		} else if (result === CIPHERTEXT_ENDED) {
			this.#happened('ciphertext-end');
		}
	}

	/* End */

	#shutdown(): void {
		const result = this.#connection?.shutdown();
		if (result !== WANT_READ && result !== WANT_WRITE) {
			this.#happened('shutdown-done');
		}
	}

	/** Its time limit has passed: for the clock only. */
	expired(): void {
		this.#guard(() => {
			if (this.#state === 'awaiting-request') {
				this.#pending?.handoff.logNoRequest();
			} else if (this.#connection !== undefined) {
				warning(timeoutLine(this.#peer ?? ''));
			}

			this.#happened('failure');
		});
	}

	/* Whoever calls serves all sessions: what goes wrong here must not reach him. */
	#guard(run: () => void): void {
		try {
			run();
		} catch (reason) {
			this.fault(reason);
		}
	}

	#release(): void {
		this.#resources[Symbol.dispose]();
		if (this.#pending === undefined) {
			info(disconnectLine(this.#endpoint));
		} else {
			this.#pending.logEnd(this.#context, this.#pump !== undefined);
		}

		this.#context.ended();
	}
}
