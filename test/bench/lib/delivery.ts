/*
 * Delivers messages from the queue of a Postfix instance to a receiver, and measures
 * time, CPU time and memory.
 */
import type {TlsVersion} from '../../../postfix/lib/sink-messages.ts';
import {Account} from './account.ts';
import {median} from './measure.ts';
import {memoryOf, processesOf} from './process.ts';
import type {Receiver} from './receiver.ts';
import type {Destination, Sender} from './sender.ts';

/** The conditions of a delivery, which are the same for all modes. */
export interface Conditions {
	/** Milliseconds. */
	readonly roundTrip: number;
	readonly tls: TlsVersion;
	readonly handshakes: 'full' | 'resumed';
	/** Concurrent deliveries: smtp_destination_concurrency_limit. */
	readonly streams: number;
	/** Number of concurrent connections that the receiver accepts. */
	readonly maxConnections?: number;
	/** Messages that are submitted per second. If undefined, all of them wait in the queue. */
	readonly pace?: number;
	/** Whether mail is submitted while connections from earlier mail are still stored. */
	readonly again?: boolean;
}

/** The result of one delivery. CPU is in seconds per 1,000 messages. */
export interface Sample {
	readonly messages: number;
	readonly seconds: number;
	readonly perSecond: number;
	readonly connections: number;
	readonly handshakeCount: number;
	readonly resumptions: number;
	/** Connections that the receiver refused, and messages that were deferred for this reason. */
	readonly refusals: number;
	readonly deferred: number;
	/** All processes of Postfix, including those that have ended. */
	readonly cpu: number;
	/** The same, by program. */
	readonly cpuBy: Readonly<Record<string, number>>;
	/** The receiver, and the relay in front of it. */
	readonly sinkCpu: number;
	readonly relayCpu: number;
	/** PSS in MB at the end: of all processes of Postfix, and of tlsproxy(8). */
	readonly memory: number;
	readonly proxyMemory: number;
	/** Median seconds of a delivery before, in and after the connection: `delays=` in the log. */
	readonly queued: number;
	readonly connecting: number;
	readonly sending: number;
}

/** Time limit of a delivery, in milliseconds. */
const DELIVERY_TIMEOUT = 120_000;

/** Time between two samples of CPU time, in milliseconds. A process that lives shorter may have no sample. */
const CPU_SAMPLE_INTERVAL = 400;

/** The delays of each message in the log: seconds in the queue manager, to connect, to send. */
function delaysIn(log: string): ReadonlyArray<readonly number[]> {
	return [...log.matchAll(/delays=[\d.]+\/([\d.]+)\/([\d.]+)\/([\d.]+), dsn=\S+ status=sent/g)].map(match =>
		match.slice(1).map(Number),
	);
}

/**
 * Delivers messages and measures it. The measurement starts when all messages are in the queue, unless they
 * have a pace.
 *
 * @throws {Error} if a message does not arrive, or arrives in cleartext.
 */
export async function deliver(
	sender: Sender,
	receiver: Receiver,
	to: Destination,
	messages: number,
	{pace, again}: Pick<Conditions, 'pace' | 'again'> = {},
): Promise<Sample> {
	const {sandbox} = sender;
	const {sink} = receiver;
	if (pace === undefined) {
		await sender.enqueue(to, messages);
	}

	if (again !== true) {
		await sender.waitUntilNoConnectionIsStored();
	}

	await sender.truncateLog();
	await sink.reset();
	const account = new Account(sandbox);
	const before = receiver.cpu();
	const started = performance.now();
	let sampled = started;
	if (pace === undefined) {
		await sender.release();
	} else {
		await sender.submit(to, messages, pace);
	}

	const done = await sandbox.waitFor(async () => {
		const now = performance.now();
		if (now - sampled > CPU_SAMPLE_INTERVAL) {
			sampled = now;
			account.sample();
		}

		const {encryptedMessages, clearMessages, refusals} = await sink.counts();
		const deferred = refusals > 0 ? await deferredBy(sender) : 0;
		return encryptedMessages + clearMessages + deferred >= messages;
	}, DELIVERY_TIMEOUT);
	const seconds = (performance.now() - started) / 1000;
	sender.noteConnectionUse();
	const {total, byProgram} = account.usage();
	const after = receiver.cpu();
	const counts = await sink.counts();
	const log = await sandbox.log();
	const errors = log.split('\n').filter(line => /(smtp|tlsproxy)\[.*(error|fatal|panic):/.test(line));
	if (!done || counts.clearMessages > 0 || errors.length > 0) {
		throw new Error(
			`${counts.encryptedMessages} of ${messages} messages arrived, ${counts.clearMessages} in cleartext: ${errors.join('; ') || log.slice(-2000)}`,
		);
	}

	const deferred = await deferredBy(sender);
	const sent = messages - deferred;
	if (deferred > 0) {
		await sender.deleteDeferred();
	}

	const perThousand = (used: number): number => (used * 1000) / sent;
	const delays = delaysIn(log);
	return {
		messages,
		seconds,
		perSecond: sent / seconds,
		connections: counts.tcpConnections,
		handshakeCount: counts.handshakes,
		resumptions: counts.resumptions,
		refusals: counts.refusals,
		deferred,
		cpu: perThousand(total),
		cpuBy: Object.fromEntries(
			Object.entries(byProgram).map(([program, used]) => [program, perThousand(used)]),
		),
		sinkCpu: perThousand(after.sink - before.sink),
		relayCpu: perThousand(after.relay - before.relay),
		memory: memoryOf(sandbox.processes()).pss / 2 ** 20,
		proxyMemory: memoryOf(processesOf(sandbox, 'tlsproxy')).pss / 2 ** 20,
		queued: median(delays.map(([queued = 0]) => queued)),
		connecting: median(delays.map(([, connecting = 0]) => connecting)),
		sending: median(delays.map(([, , sending = 0]) => sending)),
	};
}

async function deferredBy({sandbox}: Sender): Promise<number> {
	const lines = await sandbox.logLines(/ status=deferred /);
	return new Set(lines.map(line => / ([0-9A-Za-z]+): to=</.exec(line)?.[1])).size;
}
