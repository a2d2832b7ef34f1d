/*
 * Real smtp(8), real queue manager: messages that wait in the queue are delivered to
 * a receiver, and what that takes is counted.
 */
import type {TlsVersion} from '../../../postfix/lib/sink-messages.ts';
import {Account} from './account.ts';
import {median} from './measure.ts';
import {memoryOf, processesOf} from './process.ts';
import type {Receiver} from './receiver.ts';
import type {Destination, Sender} from './sender.ts';

/** The conditions of a delivery, whoever does it. */
export interface Conditions {
	/** Milliseconds. */
	readonly roundTrip: number;
	readonly tls: TlsVersion;
	readonly handshakes: 'full' | 'resumed';
	/** Deliveries at a time: smtp_destination_concurrency_limit. */
	readonly streams: number;
	/** Connections that the receiver accepts at a time. */
	readonly maxConnections?: number;
	/** Messages that come per second; without, all of them wait in the queue. */
	readonly pace?: number;
	/** Whether mail comes while connections are stored that mail before has left. */
	readonly again?: boolean;
}

/** What one measurement came to. CPU is in seconds per 1,000 messages. */
export interface Sample {
	readonly messages: number;
	readonly seconds: number;
	readonly perSecond: number;
	readonly connections: number;
	readonly handshakeCount: number;
	readonly resumptions: number;
	/** Connections that the receiver refused, and messages that were deferred therefore. */
	readonly refusals: number;
	readonly deferred: number;
	/** All processes of Postfix, those that have ended too. */
	readonly cpu: number;
	/** The same, by program. */
	readonly cpuBy: Readonly<Record<string, number>>;
	/** The receiver, and the way to it. */
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

/** Time that messages may take, in milliseconds. */
const LIMIT = 120_000;

/** Time between two looks at who uses the processor, in milliseconds: short enough to meet who ends. */
const LOOK = 400;

/** What of a message the log tells: seconds in the queue manager, to connect, to send. */
function delaysIn(log: string): ReadonlyArray<readonly number[]> {
	return [...log.matchAll(/delays=[\d.]+\/([\d.]+)\/([\d.]+)\/([\d.]+), dsn=\S+ status=sent/g)].map(found =>
		found.slice(1).map(Number),
	);
}

/**
 * Delivers, and counts. Nothing is counted before all messages are in the queue, unless they have a pace.
 *
 * @throws {Error} when one does not arrive, or not encrypted.
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
		await sender.load(to, messages);
	}

	if (again !== true) {
		await sender.untilNothingIsStored();
	}

	await sender.forgetLog();
	await sink.reset();
	const account = new Account(sandbox);
	const before = receiver.cpu();
	const started = performance.now();
	let looked = started;
	if (pace === undefined) {
		await sender.release();
	} else {
		await sender.submit(to, messages, pace);
	}

	const done = await sandbox.waitFor(async () => {
		const now = performance.now();
		if (now - looked > LOOK) {
			looked = now;
			account.look();
		}

		const {encryptedMessages, clearMessages, refusals} = await sink.counts();
		const deferred = refusals > 0 ? await deferredBy(sender) : 0;
		return encryptedMessages + clearMessages + deferred >= messages;
	}, LIMIT);
	const seconds = (performance.now() - started) / 1000;
	sender.used();
	const {total, byProgram} = account.used();
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
		await sender.clear();
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
