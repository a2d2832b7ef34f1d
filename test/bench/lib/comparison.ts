/*
 * Groups of measurements, one after the other: starts senders and receivers, warms
 * them up, and takes samples in turns.
 */
import type {Certificates} from '../../../postfix/lib/certificates.ts';
import {freePort} from '../../../postfix/lib/sandbox.ts';
import {type Group, settings} from './combinations.ts';
import {type Conditions, deliver, type Sample} from './delivery.ts';
import {Receiver} from './receiver.ts';
import {type Destination, Sender, type Way} from './sender.ts';

/** How much is measured. */
export interface Extent {
	/** Samples of each way. */
	readonly rounds: (conditions: Conditions) => number;
	/** Seconds that a sample takes, about. */
	readonly seconds: number;
	/** Tells who waits what is going on. */
	readonly say: (text: string) => void;
}

/** One way under some conditions. */
export interface Outcome extends Conditions {
	readonly way: Way;
	readonly variant: string | undefined;
	readonly samples: readonly Sample[];
	/** Why there are fewer than there should be. */
	readonly failure?: string;
}

interface Member {
	readonly way: Way;
	readonly variant: string | undefined;
	readonly conditions: Conditions;
	readonly destination: Destination;
	readonly samples: Sample[];
	failure?: string;
}

/** Messages that warm up a program that compiles what it does often. */
const WARMING = 1000;

/** Most messages of a sample. */
const MOST = 8000;

/**
 * Measures everything. What fails is in its outcome, and the others go on.
 *
 * @param certificates - of the host SINK_NAME.
 */
export async function measure(
	groups: readonly Group[],
	certificates: Certificates,
	extent: Extent,
): Promise<readonly Outcome[]> {
	await using stack = new AsyncDisposableStack();
	const warming: Destination = {domain: 'warming.example', port: await freePort(), streams: 20};
	const all: Member[][] = [];
	for (const {members, conditions} of groups) {
		const row: Member[] = [];
		for (const {way, variant} of members) {
			const domain = `c${all.length}-${row.length}.example`;
			const destination = {domain, port: await freePort(), streams: conditions.streams};
			row.push({way, variant, conditions, destination, samples: []});
		}

		all.push(row);
	}

	const senders = new Map<string, Sender>();
	for (const [key, members] of Map.groupBy(all.flat(), senderOf)) {
		const [first] = members;
		if (first !== undefined) {
			extent.say(`starting ${key}`);
			const sender = await Sender.start(
				{
					way: first.way,
					handshakes: first.conditions.handshakes,
					main: settings[first.variant ?? ''],
				},
				[warming, ...members.map(({destination}) => destination)],
			);
			senders.set(key, stack.use(sender));
		}
	}

	{
		await using receiver = await Receiver.start(certificates, {tls: 'TLSv1.3', roundTrip: 0}, warming.port);
		for (const sender of senders.values()) {
			await deliver(sender, receiver, warming, WARMING);
		}
	}

	for (const [index, {atOnce}] of groups.entries()) {
		await measureGroup(all[index] ?? [], atOnce, extent, async member => {
			const sender = senders.get(senderOf(member));
			if (sender === undefined) {
				throw new Error('no sender');
			}

			return [sender, await Receiver.start(certificates, member.conditions, member.destination.port)];
		});
	}

	return all.flat().map(({way, variant, conditions, samples, failure}) => ({
		...conditions,
		way,
		variant,
		samples,
		...(failure === undefined ? {} : {failure}),
	}));
}

/** Ways and settings have an instance each; the rest are destinations of it. */
function senderOf({way, variant, conditions}: Member): string {
	return `${way}, ${conditions.handshakes} handshakes${variant === undefined ? '' : `, ${variant}`}`;
}

async function measureGroup(
	members: readonly Member[],
	atOnce: boolean,
	extent: Extent,
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
			member.samples.push(await sample(member, run, extent));
		} catch (reason) {
			member.failure = reason instanceof Error ? reason.message : String(reason);
		}

		extent.say(progress(member));
	};

	const [first] = members;
	const rounds = first === undefined ? 0 : extent.rounds(first.conditions);
	for (let round = 0; round < rounds; round++) {
		if (atOnce) {
			await Promise.all(members.map(one));
			continue;
		}

		/* Who comes second finds the machine as the first has left it: they take turns at that too. */
		for (const member of round % 2 === 0 ? members : members.toReversed()) {
			await one(member);
		}
	}
}

/** As many messages as take the wanted time: how fast it goes is known from those before. */
async function sample(
	{conditions, samples}: Member,
	run: (count: number) => Promise<Sample>,
	{seconds}: Extent,
): Promise<Sample> {
	const {streams, pace} = conditions;
	if (pace !== undefined) {
		return await run(Math.max(8, Math.round(pace * seconds)));
	}

	const before = samples.at(-1) ?? (await run(warmUp(conditions)));
	/* Never so few that how the first ones started is what is seen. */
	const least = streams === 1 ? 8 : streams * 4;
	return await run(Math.min(MOST, Math.max(least, Math.round(before.perSecond * seconds))));
}

/* What one second brings, by a rule of thumb: ten milliseconds of work, and seven round trips. */
function warmUp({roundTrip, streams}: Conditions): number {
	return Math.max(streams, Math.min(500, Math.round(streams / (0.01 + 0.007 * roundTrip))));
}

function progress({way, variant, conditions, samples, failure}: Member): string {
	const {roundTrip, tls, handshakes, streams, maxConnections, pace} = conditions;
	const last = samples.at(-1);
	return [
		`${roundTrip} ms, ${tls}, ${handshakes}, ${streams} streams${maxConnections === undefined ? '' : ' (limit)'}`,
		...(pace === undefined ? [] : [`${pace.toFixed(1)} messages/s come`]),
		...(variant === undefined ? [] : [variant]),
		failure === undefined && last !== undefined
			? `${way}: ${last.perSecond.toFixed(1)}/s, ${last.handshakeCount} handshakes (${last.resumptions} resumed) for ${last.messages} messages, CPU ${last.cpu.toFixed(2)} s per 1,000`
			: `${way}: ${failure}`,
	].join(', ');
}
