/*
 * What `npm run compare` compares: the conditions, and what main.cf can say.
 */
import type {Conditions} from './delivery.ts';
import type {Way} from './sender.ts';

/** What a command line chooses from the combinations. */
export interface Choice {
	readonly roundTrips: readonly number[];
	readonly tls: ReadonlyArray<Conditions['tls']>;
	readonly handshakes: ReadonlyArray<Conditions['handshakes']>;
	/** Deliveries at a time. Limited: the receiver accepts no more connections than that. */
	readonly streams: ReadonlyArray<{readonly count: number; readonly limited: boolean}>;
}

/** What is measured together: the same conditions, in several ways. */
export interface Group {
	readonly conditions: Conditions;
	readonly members: ReadonlyArray<{readonly way: Way; readonly variant?: string}>;
	/** Whether the machine has time enough to do it for all members at the same time. */
	readonly atOnce: boolean;
}

/**
 * Where there is little to do but to wait, one delivery does not disturb another. On 2 cores, at 20 ms and one
 * at a time, 5.2, 14.1 and 14.2 messages per second in turn were 5.2, 14.5 and 14.5 at the same time.
 */
function mostlyWaits({roundTrip, streams}: Conditions): boolean {
	return roundTrip >= 100 || (roundTrip >= 20 && streams === 1);
}

/** All combinations, those first that warm up most. */
export function combinations(choice: Choice, ways: readonly Way[]): readonly Group[] {
	return choice.roundTrips.flatMap(roundTrip =>
		choice.tls.flatMap(tls =>
			choice.handshakes.flatMap(handshakes =>
				choice.streams.map(({count, limited}): Group => {
					const conditions: Conditions = {
						roundTrip,
						tls,
						handshakes,
						streams: count,
						...(limited ? {maxConnections: count} : {}),
					};
					return {conditions, members: ways.map(way => ({way})), atOnce: mostlyWaits(conditions)};
				}),
			),
		),
	);
}

/** What main.cf can say, one thing at a time; the first is Postfix as it comes. */
const AS_IT_COMES = 'as Postfix comes';
const LISTED = {smtp_connection_cache_destinations: '127.0.0.1'};
export const settings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
	[AS_IT_COMES]: {},
	'destination listed': LISTED,
	'listed, kept for 10 s': {
		...LISTED,
		smtp_connection_cache_time_limit: '10s',
		connection_cache_ttl_limit: '10s',
	},
	'nothing stored on demand': {smtp_connection_cache_on_demand: 'no'},
	'10 deliveries a connection': {smtp_connection_reuse_count_limit: '10'},
	'1 second a connection': {smtp_connection_reuse_time_limit: '1s'},
};

/**
 * Mail that waits; mail that comes often, and now and then; mail for a receiver that limits connections, a
 * moment after there was some. Each setting with each proxy where it matters.
 */
export function variants(roundTrip: number, ways: readonly Way[]): readonly Group[] {
	const names = Object.keys(settings);
	const few = names.slice(0, 3);
	const group = (variantNames: readonly string[], special: Partial<Conditions> = {}): Group => ({
		conditions: {roundTrip, tls: 'TLSv1.3', handshakes: 'full', streams: 20, ...special},
		members: variantNames.flatMap(variant =>
			ways.filter(way => way !== 'no reuse' || variant === AS_IT_COMES).map(way => ({way, variant})),
		),
		atOnce: special.pace !== undefined,
	});
	return [
		group(names),
		group(few.slice(0, 2), {streams: 5, maxConnections: 5, again: true}),
		group(few, {pace: 2}),
		group(few, {pace: 1 / 3}),
	];
}
