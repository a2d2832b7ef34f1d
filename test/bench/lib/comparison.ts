/*
 * Runs groups of measurements one after another: starts senders and receivers, warms
 * them up, and takes samples of all members alternately.
 */
import type {Certificates} from '../../../postfix/lib/certificates.ts';
import {freePort} from '../../../postfix/lib/sandbox.ts';
import {errorText} from '../../../src/base/text.ts';
import {type Group, settings} from './combinations.ts';
import {type Conditions, deliver, type Sample} from './delivery.ts';
import {Receiver} from './receiver.ts';
import {type Destination, type Mode, Sender} from './sender.ts';

/** The number and duration of samples. */
export interface ComparisonOptions {
	/** Number of samples of each member of a group. */
	readonly rounds: (conditions: Conditions) => number;
	/** Approximate duration of a sample in seconds. */
	readonly seconds: number;
	/** Shows progress to the user. */
	readonly logProgress: (text: string) => void;
}

/** The result of one mode and variant under some conditions. */
export interface Outcome extends Conditions {
	readonly mode: Mode;
	readonly variant: string | undefined;
	readonly samples: readonly Sample[];
	/** The error that ended the measurement. */
	readonly failure?: string;
}

interface Member {
	readonly mode: Mode;
	readonly variant: string | undefined;
	readonly conditions: Conditions;
	readonly destination: Destination;
	readonly samples: Sample[];
	failure?: string;
}

/** Messages after which V8 has compiled the functions that are called often. */
const WARM_UP_MESSAGES = 1000;

/** Maximum number of messages in a sample. */
const MESSAGE_LIMIT = 8000;

/**
 * Measures all groups. A failure is part of its outcome; the other measurements continue.
 *
 * @param certificates - of the host SINK_NAME.
 */
export async function measure(
	groups: readonly Group[],
	certificates: Certificates,
	options: ComparisonOptions,
): Promise<readonly Outcome[]> {
	await using stack = new AsyncDisposableStack();
	const warmUpDestination: Destination = {domain: 'warm-up.example', port: await freePort(), streams: 20};
	const all: Member[][] = [];
	for (const {members, conditions} of groups) {
		const row: Member[] = [];
		for (const {mode, variant} of members) {
			const domain = `c${all.length}-${row.length}.example`;
			const destination = {domain, port: await freePort(), streams: conditions.streams};
			row.push({mode, variant, conditions, destination, samples: []});
		}

		all.push(row);
	}

	const senders = new Map<string, Sender>();
	for (const [key, members] of Map.groupBy(all.flat(), senderKey)) {
		const [first] = members;
		if (first !== undefined) {
			options.logProgress(`starting ${key}`);
			const sender = await Sender.start(
				{
					mode: first.mode,
					handshakes: first.conditions.handshakes,
					main: settings[first.variant ?? ''],
				},
				[warmUpDestination, ...members.map(({destination}) => destination)],
			);
			senders.set(key, stack.use(sender));
		}
	}

	{
		await using receiver = await Receiver.start(
			certificates,
			{tls: 'TLSv1.3', roundTrip: 0},
			warmUpDestination.port,
		);
		for (const sender of senders.values()) {
			await deliver(sender, receiver, warmUpDestination, WARM_UP_MESSAGES);
		}
	}

	for (const [index, {isSimultaneous}] of groups.entries()) {
		await measureGroup(all[index] ?? [], isSimultaneous, options, async member => {
			const sender = senders.get(senderKey(member));
			if (sender === undefined) {
				throw new Error('no sender');
			}

			return [sender, await Receiver.start(certificates, member.conditions, member.destination.port)];
		});
	}

	return all.flat().map(({mode, variant, conditions, samples, failure}) => ({
		...conditions,
		mode,
		variant,
		samples,
		...(failure === undefined ? {} : {failure}),
	}));
}

/** The key of the Postfix instance for a member. Other conditions differ by destination. */
function senderKey({mode, variant, conditions}: Member): string {
	return `${mode}, ${conditions.handshakes} handshakes${variant === undefined ? '' : `, ${variant}`}`;
}

async function measureGroup(
	members: readonly Member[],
	isSimultaneous: boolean,
	options: ComparisonOptions,
	open: (member: Member) => Promise<readonly [Sender, Receiver]>,
): Promise<void> {
	await using stack = new AsyncDisposableStack();
	const ready = new Map<Member, (count: number) => Promise<Sample>>();
	for (const member of members) {
		const [sender, receiver] = await open(member);
		stack.use(receiver);
		const {destination, conditions} = member;
		ready.set(member, count => deliver(sender, receiver, destination, count, conditions));
	}

	const one = async (member: Member): Promise<void> => {
		const run = ready.get(member);
		if (run === undefined || member.failure !== undefined) {
			return;
		}

		try {
			member.samples.push(await sample(member, run, options));
		} catch (reason) {
			member.failure = errorText(reason);
		}

		options.logProgress(progress(member));
	};

	const [first] = members;
	const rounds = first === undefined ? 0 : options.rounds(first.conditions);
	for (let round = 0; round < rounds; round++) {
		if (isSimultaneous) {
			await Promise.all(members.map(one));
			continue;
		}

		/* The previous sample affects the next one, so the order alternates, too. */
		for (const member of round % 2 === 0 ? members : members.toReversed()) {
			await one(member);
		}
	}
}

/** Takes a sample of the configured duration. The speed of the previous sample gives the number of messages. */
async function sample(
	{conditions, samples}: Member,
	run: (count: number) => Promise<Sample>,
	{seconds}: ComparisonOptions,
): Promise<Sample> {
	const {streams, pace} = conditions;
	if (pace !== undefined) {
		return await run(Math.max(8, Math.round(pace * seconds)));
	}

	const previous = samples.at(-1) ?? (await run(warmUpCount(conditions)));
	/* Enough messages that the start of the delivery does not dominate. */
	const minimum = streams === 1 ? 8 : streams * 4;
	return await run(Math.min(MESSAGE_LIMIT, Math.max(minimum, Math.round(previous.perSecond * seconds))));
}

/* Estimated messages in one second: each takes ten milliseconds of work and seven round trips. */
function warmUpCount({roundTrip, streams}: Conditions): number {
	return Math.max(streams, Math.min(500, Math.round(streams / (0.01 + 0.007 * roundTrip))));
}

function progress({mode, variant, conditions, samples, failure}: Member): string {
	const {roundTrip, tls, handshakes, streams, maxConnections, pace} = conditions;
	const last = samples.at(-1);
	return [
		`${roundTrip} ms, ${tls}, ${handshakes}, ${streams} streams${maxConnections === undefined ? '' : ' (limit)'}`,
		...(pace === undefined ? [] : [`${pace.toFixed(1)} messages/s`]),
		...(variant === undefined ? [] : [variant]),
		failure === undefined && last !== undefined
			? `${mode}: ${last.perSecond.toFixed(1)}/s, ${last.handshakeCount} handshakes (${last.resumptions} resumed) for ${last.messages} messages, CPU ${last.cpu.toFixed(2)} s per 1,000`
			: `${mode}: ${failure}`,
	].join(', ');
}
