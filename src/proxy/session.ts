/*++
/* NAME
/*	session 3
/* SUMMARY
/*	one hand-off, from accept to close
/* DESCRIPTION
/*	A session owns two descriptors, a TLS connection, their readiness
/*	and a time limit, all on one stack: disposal of the stack is the
/*	only way to end a session, and happens once. It tells state(3)
/*	what has happened and performs what that decides.
/*
/*	One session cannot reach another: what it throws comes back to
/*	itself, is logged as a warning, and ends it.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c
/*--*/

import type {Deadline} from '../event/deadline.ts';
import type {Task, Watcher} from '../event/reactor.ts';
import {readStream, receiveDescriptor, writeStream} from '../event/stream.ts';
import {verbose, warning} from '../log.ts';
import type {Owned} from '../owned.ts';
import {AGAIN, FAILED, WANT_LOOKUP, WANT_READ, WANT_WRITE} from '../step.ts';
import {type Connection, DONE, type Opener} from '../tls/connection.ts';
import type {Fd} from '../units.ts';
import {printContext} from '../wire/context.ts';
import {greeting, printStatus, type Request} from '../wire/request.ts';
import {flowOf} from './flow.ts';
import {Handoff, type Order} from './handoff.ts';
import type {SessionHost} from './host.ts';
import {firstWordLimit, handshakeLimit, REQUEST_LIMIT, SETUP_LIMIT, sessionLimit} from './limits.ts';
import {contextProblemLine, descriptorProblemLine, faultLine, timeoutLine} from './log-lines.ts';
import {CIPHERTEXT_ENDED, MORE, PLAINTEXT_ENDED, Pump} from './pump.ts';
import {type Action, type Event, next, type State} from './state.ts';

/** One hand-off. */
export class Session implements Task {
	readonly #host: SessionHost;
	readonly #resources = new DisposableStack();
	readonly #plaintext: Fd;
	readonly #deadline: Deadline;
	readonly #handoff: Handoff;
	#state: State = 'awaiting-request';
	#request: Request | undefined;
	#flow: string | undefined;
	/* Ends with the handshake, or with the session. */
	#admission: Disposable | undefined;
	#opener: Opener | undefined;
	#connection: Connection | undefined;
	#pump: Pump | undefined;
	/* The handshake can proceed: there is what it waits for. */
	#due = false;
	#wantsRoom = false;
	#queued = false;
	#begun = false;

	/**
	 * Greets a client and waits for its request. From then on the session keeps itself alive: the reactor
	 * and the clock hold it, until it tells the host that it has ended.
	 *
	 * @param plaintext - connection from the client, non-blocking; moved in.
	 */
	static open(host: SessionHost, plaintext: Owned<Fd>): void {
		const session = new Session(host, plaintext);
		session.#guard(() => session.#begin());
	}

	private constructor(host: SessionHost, plaintext: Owned<Fd>) {
		this.#host = host;
		this.#plaintext = this.#resources.use(plaintext.move()).value;
		this.#deadline = this.#resources.use(host.clock.deadline(() => this.#guard(() => this.#expired())));
		this.#handoff = new Handoff(host.profile, host.settingsParser);
	}

	#begin(): void {
		this.#watch(this.#plaintext, (readable, writable) => this.#plaintextReady(readable, writable));
		this.#deadline.arm(firstWordLimit(this.#host.profile));
		const hello = greeting(this.#host.profile);
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

		warning(faultLine(this.#handoff.names?.remoteEndpoint, reason));
		this.#happened('failure');
	}

	/* Performs what state(3) decides. */
	#happened(event: Event): void {
		const {state, actions} = next(this.#state, event);
		verbose(
			() =>
				`session ${this.#handoff.names?.remoteEndpoint ?? this.#plaintext}: ${event}: ${this.#state} -> ${state}`,
		);
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

	/*
	 * A request costs as much as a step of a handshake: served among the events, data
	 * would have to wait for all of them. During the handshake the client waits: what
	 * it sends, or that it leaves, is found when the pump starts.
	 */
	#plaintextReady(readable: boolean, writable: boolean): void {
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

	#ciphertextReady(readable: boolean, writable: boolean): void {
		this.#due ||= this.#wantsRoom ? writable : readable;
		if (this.#state === 'handshaking') {
			this.#queue();
		} else if (this.#state === 'proxying') {
			this.#pump?.ciphertextReady(readable, writable);
			this.#move();
		} else if (this.#state === 'closing') {
			this.#shutdown();
		}
	}

	#watch(fd: Fd, ready: Watcher['ready']): void {
		this.#resources.use(this.#host.reactor.watch(fd, {ready, fault: reason => this.fault(reason)}));
	}

	#queue(): void {
		const handshaking = this.#state === 'handshaking';
		if (this.#queued || (handshaking && !this.#due)) {
			return;
		}

		this.#queued = true;
		if (handshaking) {
			this.#host.reactor.queue(this, this.#flow);
		} else {
			this.#host.reactor.soon(this);
		}
	}

	/* Request */

	#receiveRequest(): void {
		const progress = this.#handoff.receive(this.#plaintext);
		this.#request = this.#handoff.request;
		switch (progress) {
			case 'more':
				/* Once: a client that sends a byte now and then gains no time by it. */
				if (this.#handoff.begun && !this.#begun) {
					this.#begun = true;
					this.#deadline.arm(REQUEST_LIMIT);
				}

				break;
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
		this.#deadline.arm(SETUP_LIMIT);
		const {order, request} = this.#handoff;
		if (order !== undefined) {
			this.#opener = this.#prepare(order);
			this.#happened(this.#opener === undefined ? 'refused' : 'accepted');
		} else if (request !== undefined) {
			this.#happened(this.#host.serves(request.role) ? 'available' : 'refused');
		}

		/*
		 * Readiness is told once. A client that had closed its side before we were
		 * through with its request would not be noticed before the time limit.
		 */
		this.#plaintextReady(true, false);
	}

	/* Undefined when that is not possible; the reason has been logged. */
	#prepare(order: Order): Opener | undefined {
		this.#flow = flowOf(order.request);
		const admission = this.#host.concurrency.admit(this.#flow, order.request.remoteEndpoint);
		this.#admission = admission && this.#resources.use(admission);
		const opener = admission && this.#host.prepare(order);
		return opener && this.#resources.use(opener);
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
		const connection = this.#opener?.open(ciphertext);
		if (connection === undefined) {
			this.#happened('failure');
			return;
		}

		this.#deadline.arm(handshakeLimit(this.#request));
		this.#connection = this.#resources.use(connection);
		this.#watch(ciphertext, (readable, writable) => this.#ciphertextReady(readable, writable));
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
		if (this.#flow === undefined) {
			this.#handshake();
		} else {
			this.#queue();
		}
	}

	#handshake(): void {
		const connection = this.#connection;
		const outcome = connection?.handshake(this.#due) ?? FAILED;
		this.#due = outcome === AGAIN || outcome === WANT_LOOKUP;
		this.#wantsRoom = outcome === WANT_WRITE;
		switch (outcome) {
			case WANT_READ:
			case WANT_WRITE:
				return;
			case AGAIN:
				this.#queue();
				return;
			case WANT_LOOKUP:
				this.#happened('question');
				return;
			case DONE:
				this.#admission?.[Symbol.dispose]();
				this.#deadline.arm(sessionLimit(this.#request));
				this.#pump = connection && this.#resources.use(new Pump(connection, this.#plaintext));
				this.#happened('handshake-done');
				return;
			default:
				this.#happened('failure');
		}
	}

	#sendReport(): void {
		if (this.#connection === undefined) {
			return;
		}

		const context = this.#connection.report();
		this.#handoff.settle();
		if (this.#request?.sendContext === true) {
			this.#pump?.prepend(printContext(context, this.#host.profile));
		}
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
			this.#deadline.arm(sessionLimit(this.#request));
		}

		if (result === MORE) {
			this.#queue();
		} else if (result === PLAINTEXT_ENDED) {
			if (!pump.prepended) {
				warning(contextProblemLine('Broken pipe'));
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

	/* Whoever calls serves all sessions: what goes wrong here must not reach him. */
	#guard(run: () => void): void {
		try {
			run();
		} catch (reason) {
			this.fault(reason);
		}
	}

	#expired(): void {
		if (this.#state === 'awaiting-request') {
			this.#handoff.complainOfSilence();
		} else if (this.#connection !== undefined) {
			warning(timeoutLine(this.#request?.remoteEndpoint ?? ''));
		}

		this.#happened('failure');
	}

	#release(): void {
		this.#resources.dispose();
		const quiet = this.#opener === undefined && this.#host.profile.quietRefusal;
		this.#handoff.bidFarewell(quiet || this.#pump !== undefined);
		this.#host.ended();
	}
}
