/*
 * Real smtp(8), real queue manager: messages that wait in the queue are delivered to
 * a server, and what that takes is counted.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {inject} from '../../../postfix/lib/inject.ts';
import type {ProcessEntry} from '../../../postfix/lib/processes.ts';
import {messages, Pair} from '../../helpers/postfix.ts';
import {median} from './measure.ts';
import {cpuSeconds, memoryOf} from './process.ts';
import {startRelay} from './relay.ts';

/** How TLS is done. */
export const ways = ['no reuse', 'stock', 'ours'] as const;
export type Way = (typeof ways)[number];

/** One combination. */
export interface Case {
	readonly way: Way;
	/** Milliseconds. */
	readonly roundTrip: number;
	readonly tls: 'TLSv1.2' | 'TLSv1.3';
	readonly handshakes: 'full' | 'resumed';
	/** Deliveries at a time: smtp_destination_concurrency_limit. */
	readonly streams: number;
	readonly messages: number;
	/** Further parameters, of which the name says what they are. */
	readonly variant?: string;
	readonly main?: Readonly<Record<string, string>>;
}

/** What a combination came to. */
export interface Outcome extends Case {
	readonly perSecond: number;
	readonly connections: number;
	readonly handshakeCount: number;
	readonly resumptions: number;
	/** CPU seconds per 1,000 messages of all processes of Postfix. */
	readonly cpu: number;
	/** The same, by program. */
	readonly cpuBy: Readonly<Record<string, number>>;
	/** Share of one core that the server took: near one, it is what was measured. */
	readonly serverBusy: number;
	/** PSS of smtp(8), tlsproxy(8) and scache(8) at the end, in MB. */
	readonly memory: number;
	/** Median seconds of a delivery before, in and after the connection: `delays=` in the log. */
	readonly queued: number;
	readonly connecting: number;
	readonly sending: number;
}

function programOf({args}: ProcessEntry): string {
	if (args.some(word => word.endsWith('/lib/main.js'))) {
		return 'tlsproxy';
	}

	const [first = '', second = ''] = args;
	return (first.endsWith('sh') ? second : first).split('/').at(-1) ?? '';
}

function cpuByProgram(processes: readonly ProcessEntry[]): Map<string, number> {
	const sums = new Map<string, number>();
	for (const process of processes) {
		const program = programOf(process);
		sums.set(program, (sums.get(program) ?? 0) + cpuSeconds(process.pid));
	}

	return sums;
}

/** What of a message the log tells: seconds in the queue manager, to connect, to send. */
function delaysIn(lines: readonly string[]): ReadonlyArray<readonly number[]> {
	return lines.flatMap(line => {
		const found = /delays=[\d.]+\/([\d.]+)\/([\d.]+)\/([\d.]+)/.exec(line);
		return found === null ? [] : [found.slice(1).map(Number)];
	});
}

/** Delivers. Nothing is measured before all messages are in the queue. */
export async function deliver(item: Case): Promise<Outcome> {
	const reuse = item.way !== 'no reuse';
	await using pair = await Pair.start(
		{
			tlsproxy: item.way === 'ours' ? 'ours' : item.way === 'stock' ? 'stock' : 'none',
			main: {
				smtp_tls_connection_reuse: reuse ? 'yes' : 'no',
				smtp_destination_concurrency_limit: String(item.streams),
				initial_destination_concurrency: String(item.streams),
				default_process_limit: '100',
				/* Processes that end take with them what they have used. */
				max_use: '100000',
				defer_transports: 'smtp',
				...(item.handshakes === 'resumed'
					? {smtp_tls_session_cache_database: 'btree:$data_directory/smtp_scache'}
					: {}),
				...(reuse ? {} : {smtp_connection_cache_destinations: ''}),
				...item.main,
			},
		},
		{minVersion: item.tls, maxVersion: item.tls},
	);
	const {sandbox, sink} = pair;
	using relay = await startRelay({port: sink.port, roundTrip: item.roundTrip});
	await sandbox.postconf('relayhost', `[127.0.0.1]:${relay.port}`);
	await inject(sandbox.submissionPort, messages(item.messages), 10);
	const deferred = await sandbox.waitFor(
		async () => (await sandbox.logLines(/status=deferred/)).length >= item.messages,
		60_000,
	);
	if (!deferred) {
		throw new Error(`the messages are not in the queue:\n${(await sandbox.log()).slice(-2000)}`);
	}

	await sandbox.postconf('defer_transports', '');
	/* postconf(1) and daemons wait for a main.cf that was changed just now. */
	await sleep(1500);
	await sandbox.reload();
	/* A host that delivers mail has its daemons running. */
	await inject(sandbox.submissionPort, messages(1), 1);
	if (!(await arrived(pair, 1))) {
		throw new Error('the first message does not arrive');
	}

	await sink.reset();
	const before = cpuByProgram(sandbox.processes());
	const serverBefore = cpuSeconds(sink.pid);
	const started = performance.now();
	await sandbox.flush();
	if (!(await arrived(pair, item.messages))) {
		throw new Error(`not all messages arrive:\n${(await sandbox.log()).slice(-2000)}`);
	}

	const seconds = (performance.now() - started) / 1000;
	const processes = sandbox.processes();
	const after = cpuByProgram(processes);
	const cpuBy = Object.fromEntries(
		[...after]
			.map(
				([program, used]) => [program, ((used - (before.get(program) ?? 0)) * 1000) / item.messages] as const,
			)
			.filter(([, used]) => used > 0.005)
			.toSorted(([, a], [, b]) => b - a),
	);
	const counts = await sink.counts();
	const delays = delaysIn(await sandbox.logLines(/postfix\/smtp\[\d+\]: .* status=sent/));
	const clearly = await sandbox.logLines(/(smtp|tlsproxy)\[.*(error|fatal|panic)/);
	if (counts.clearMessages > 0 || clearly.length > 0) {
		throw new Error(`${counts.clearMessages} messages in cleartext:\n${clearly.join('\n')}`);
	}

	return {
		...item,
		perSecond: item.messages / seconds,
		connections: counts.tcpConnections,
		handshakeCount: counts.handshakes,
		resumptions: counts.resumptions,
		cpu: Object.values(cpuBy).reduce((sum, used) => sum + used, 0),
		cpuBy,
		serverBusy: (cpuSeconds(sink.pid) - serverBefore) / seconds,
		memory:
			memoryOf(processes.filter(entry => ['smtp', 'tlsproxy', 'scache'].includes(programOf(entry)))).pss /
			2 ** 20,
		queued: median(delays.map(([queued = 0]) => queued)),
		connecting: median(delays.map(([, connecting = 0]) => connecting)),
		sending: median(delays.map(([, , sending = 0]) => sending)),
	};
}

async function arrived({sandbox, sink}: Pair, count: number): Promise<boolean> {
	return await sandbox.waitFor(async () => {
		const {encryptedMessages, clearMessages} = await sink.counts();
		return encryptedMessages + clearMessages >= count;
	}, 240_000);
}
