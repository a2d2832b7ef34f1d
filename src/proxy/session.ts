/*++
/* NAME
/*	session 3
/* SUMMARY
/*	one hand-off, from accept to close
/* DESCRIPTION
/*	A session owns two descriptors, a TLS connection, their
/*	registrations and a deadline. All of them are Resources, released
/*	once, when the session is closed. The session passes events to
/*	state(3), and performs the actions of each transition.
/* DIAGNOSTICS
/*	Sessions are isolated from each other. An exception in a session is
/*	logged as a warning, and ends that session. An exception in the
/*	release of a resource is logged, too: the other resources are
/*	released, DISCONNECT is logged, and the session context is
/*	notified as always.
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
import {CiphertextWatcher, PlaintextWatcher, type ReadinessHandler} from './session-watchers.ts';
import {type Action, type Event, next, type State} from './state.ts';
import {
	greetingTimeout,
	handshakeTimeout,
	REQUEST_TIMEOUT,
	SETUP_TIMEOUT,
	sessionTimeout,
} from './timeouts.ts';

/** One hand-off. */
export class Session implements Task, ReadinessHandler, DeadlineOwner {
	readonly #context: SessionContext;
	readonly #resources = new Resources();
	readonly #plaintext: Fd;
	readonly #deadline: Deadline;
	#registration: Registration | undefined;
	/* Undefined after the report. */
	#pending: PendingHandoff | undefined;
	/* Set when the handshake is done: endpoint of the peer, and time limit without data. */
	#endpoint = '';
	#idleTimeout = 0 as Milliseconds;
	#state: State = 'awaiting-request';
	#connection: Connection | undefined;
	#pump: Pump | undefined;
	#queued = false;

	/**
	 * Greets a client and waits for its request. The session is referenced by the reactor and the clock until
	 * it is closed; then it calls {@link SessionContext.ended}.
	 *
	 * @param plaintext - connection from the client, non-blocking; moved in.
	 */
	static open(context: SessionContext, plaintext: Owned<Fd>): void {
		const session = new Session(context, plaintext);
		session.#guard(() => session.#start());
	}

	private constructor(context: SessionContext, plaintext: Owned<Fd>) {
		this.#context = context;
		this.#plaintext = this.#resources.use(plaintext.move()).value;
		this.#deadline = this.#resources.use(context.clock.deadlineOf(this));
		this.#pending = this.#resources.use(new PendingHandoff(context));
	}

	#start(): void {
		const registration = this.#context.reactor.watchInput(this.#plaintext, new PlaintextWatcher(this));
		this.#registration = this.#resources.use(registration);
		this.#deadline.arm(greetingTimeout(this.#context.features));
		const bytes = greeting(this.#context.features);
		if (bytes !== undefined && writeStream(this.#plaintext, bytes, bytes.length) !== bytes.length) {
			warning('write protocol attribute: Broken pipe');
			this.#handle('failure');
		}
	}

	/** Does one step of queued work. For the reactor only. */
	step(): void {
		this.#queued = false;
		Session.#steps[this.#state]?.(this);
	}

	static readonly #steps: Readonly<Partial<Record<State, (session: Session) => void>>> = {
		'awaiting-request': session => session.#receiveRequest(),
		'awaiting-descriptor': session => session.#receiveDescriptor(),
		handshaking: session => session.#handshake(),
		proxying: session => session.#pumpData(),
	};

	/** Logs an exception, and ends the session if it is not closed yet. For the reactor only. */
	fault(reason: unknown): void {
		warning(faultLine(this.#peer, reason));
		if (this.#state !== 'closed') {
			this.#handle('failure');
		}
	}

	/* Endpoint of the remote peer, for the log; undefined until the request is complete. */
	get #peer(): string | undefined {
		return this.#pending === undefined ? this.#endpoint : this.#pending.handoff.identity?.remoteEndpoint;
	}

	/* Changes the state, and performs the actions of the transition. */
	#handle(event: Event): void {
		const {state, actions} = next(this.#state, event);
		verbose(() => `session ${this.#peer ?? this.#plaintext}: ${event}: ${this.#state} -> ${state}`);
		this.#state = state;
		for (const action of actions) {
			Session.#actions[action](this);
		}
	}

	static readonly #actions: Readonly<Record<Action, (session: Session) => void>> = {
		'send-status-1': session => session.#sendStatus(1),
		'send-status-0': session => session.#sendStatus(0),
		'look-up': session => session.#lookUp(),
		'start-handshake': session => session.#startHandshake(),
		'send-report': session => session.#sendReport(),
		'open-plaintext': session => session.#pumpData(),
		shutdown: session => session.#shutdown(),
		release: session => session.#release(),
	};

	/**
	 * For the watcher only. Parsing a request takes as long as a handshake step, and would delay the data of
	 * other sessions: it is queued. During the handshake input from the client is left for the pump.
	 */
	plaintextReady(readable: boolean, writable: boolean): void {
		if (this.#state === 'proxying') {
			this.#pump?.plaintextReady(readable, writable);
			this.#pumpData();
		} else if (!readable) {
			return;
		} else if (this.#state === 'awaiting-request' || this.#state === 'awaiting-descriptor') {
			this.#queue();
		} else if (this.#state === 'answered' && readStream(this.#plaintext) !== WANT_READ) {
			this.#handle('plaintext-end');
		}
	}

	/** For the watcher only. */
	ciphertextReady(readable: boolean, writable: boolean): void {
		const pending = this.#pending;
		if (pending !== undefined) {
			pending.canProceed ||= pending.wantsWritable ? writable : readable;
		}

		if (this.#state === 'handshaking') {
			this.#queue();
		} else if (this.#state === 'proxying') {
			this.#pump?.ciphertextReady(readable, writable);
			this.#pumpData();
		} else if (this.#state === 'closing') {
			this.#shutdown();
		}
	}

	#queue(): void {
		const handshaking = this.#state === 'handshaking';
		if (this.#queued || (handshaking && this.#pending?.canProceed !== true)) {
			return;
		}

		this.#queued = true;
		if (handshaking) {
			this.#context.reactor.queue(this, this.#pending?.fairnessKey);
		} else {
			this.#context.reactor.queueUrgent(this);
		}
	}

	/* Request */

	#receiveRequest(): void {
		const progress = this.#pending?.receive(this.#plaintext);
		switch (progress) {
			case 'started':
				return this.#deadline.arm(REQUEST_TIMEOUT);
			case 'incomplete':
			case undefined:
				return;
			case 'complete':
				return this.#answer();
			case 'refused':
				return this.#handle('refused');
			case 'failed':
				return this.#handle('failure');
			default:
				progress satisfies never;
		}
	}

	#answer(): void {
		this.#deadline.arm(SETUP_TIMEOUT);
		const {complete, request} = this.#pending?.handoff ?? {};
		if (complete !== undefined) {
			this.#handle(this.#pending?.prepare(this.#context, complete) === true ? 'accepted' : 'refused');
		} else if (request !== undefined) {
			this.#handle(this.#context.serves(request.role) ? 'available' : 'refused');
		}

		/*
		 * Input is reported once (edge-triggered). Without this call, end-of-file that
		 * arrived together with the request would not be noticed before the time limit.
		 */
		this.plaintextReady(true, false);
	}

	#sendStatus(status: 0 | 1): void {
		const bytes = printStatus(status);
		if (writeStream(this.#plaintext, bytes, bytes.length) !== bytes.length) {
			this.#handle('failure');
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
				this.#handle('failure');
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
			return this.#handle('failure');
		}

		this.#deadline.arm(handshakeTimeout(this.#pending?.handoff.request));
		this.#connection = this.#resources.use(connection);
		this.#resources.use(this.#context.reactor.watch(ciphertext, new CiphertextWatcher(this)));
		this.#handle('descriptor');
	}

	/* Readiness of the peer during the lookup is remembered in canProceed. */
	#lookUp(): void {
		this.#connection?.lookUp(() => {
			/* The session may have been closed meanwhile. */
			if (this.#state === 'looking-up') {
				this.#guard(() => this.#handle('looked-up'));
			}
		});
	}

	/* Handshake */

	/*
	 * In the client role this program sends the first message, which takes little time. In
	 * the server role the peer sends it: the handshake is queued when it arrives, and a
	 * silent peer needs no buffers.
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
		const registration = this.#registration;
		if (connection === undefined || pending === undefined || registration === undefined) {
			return this.#handle('failure');
		}

		const outcome = connection.handshake(pending.canProceed);
		pending.canProceed = outcome === AGAIN || outcome === WANT_LOOKUP;
		pending.wantsWritable = outcome === WANT_WRITE;
		switch (outcome) {
			case WANT_READ:
			case WANT_WRITE:
				return;
			case AGAIN:
				return this.#queue();
			case WANT_LOOKUP:
				return this.#handle('lookup-needed');
			case DONE:
				this.#idleTimeout = sessionTimeout(pending.handoff.request);
				this.#deadline.arm(this.#idleTimeout);
				this.#pump = this.#resources.use(new Pump(connection, this.#plaintext, registration));
				return this.#handle('handshake-done');
			default:
				this.#handle('failure');
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

	#pumpData(): void {
		const pump = this.#pump;
		if (pump === undefined) {
			return;
		}

		const before = pump.moved;
		const result = pump.run();
		if (pump.moved !== before) {
			this.#deadline.arm(this.#idleTimeout);
		}

		if (result === MORE) {
			this.#queue();
		} else if (result === PLAINTEXT_ENDED) {
			if (!pump.reportSent) {
				warning(reportProblemLine('Broken pipe'));
			}

			this.#handle('plaintext-end');
		} else if (result === CIPHERTEXT_ENDED) {
			this.#handle('ciphertext-end');
		}
	}

	/* End */

	#shutdown(): void {
		const result = this.#connection?.shutdown();
		if (result !== WANT_READ && result !== WANT_WRITE) {
			this.#handle('shutdown-done');
		}
	}

	/** The deadline has expired. For the clock only. */
	expired(): void {
		this.#guard(() => {
			if (this.#state === 'awaiting-request') {
				this.#pending?.handoff.logTimeout();
			} else if (this.#connection !== undefined) {
				warning(timeoutLine(this.#peer ?? ''));
			}

			this.#handle('failure');
		});
	}

	/* For calls that do not come from the reactor: an exception must not reach the caller, which serves all sessions. */
	#guard(run: () => void): void {
		try {
			run();
		} catch (reason) {
			this.fault(reason);
		}
	}

	#release(): void {
		try {
			this.#resources[Symbol.dispose]();
		} catch (reason) {
			warning(faultLine(this.#peer, reason));
		}

		try {
			if (this.#pending === undefined) {
				info(disconnectLine(this.#endpoint));
			} else {
				this.#pending.logEnd(this.#context, this.#pump !== undefined);
			}
		} finally {
			this.#context.ended();
		}
	}
}
