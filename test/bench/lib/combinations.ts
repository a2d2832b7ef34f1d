/*
 * The conditions and main.cf settings that `npm run compare` compares.
 */
import type {Conditions} from './delivery.ts';
import type {Mode} from './sender.ts';

/** The conditions that a command line selects. */
export interface Selection {
	readonly roundTrips: readonly number[];
	readonly tls: ReadonlyArray<Conditions['tls']>;
	readonly handshakes: ReadonlyArray<Conditions['handshakes']>;
	/** Concurrent deliveries. Limited: the receiver accepts no more connections than that. */
	readonly streams: ReadonlyArray<{readonly count: number; readonly limited: boolean}>;
}

/** Measurements under the same conditions that alternate or run simultaneously. */
export interface Group {
	readonly conditions: Conditions;
	readonly members: ReadonlyArray<{readonly mode: Mode; readonly variant?: string}>;
	/** Whether all members are measured at the same time. */
	readonly isSimultaneous: boolean;
}

/**
 * Whether deliveries mostly wait, so that simultaneous ones do not disturb each other. On 2 cores, at 20 ms and
 * with one stream, the modes delivered 5.2, 14.1 and 14.2 messages per second one after another, and 5.2, 14.5
 * and 14.5 simultaneously.
 */
function mostlyWaits({roundTrip, streams}: Conditions): boolean {
	return roundTrip >= 100 || (roundTrip >= 20 && streams === 1);
}

/** All combinations. Those with the shortest round trip are first: they warm up the programs most. */
export function combinations(selection: Selection, modes: readonly Mode[]): readonly Group[] {
	return selection.roundTrips.flatMap(roundTrip =>
		selection.tls.flatMap(tls =>
			selection.handshakes.flatMap(handshakes =>
				selection.streams.map(({count, limited}): Group => {
					const conditions: Conditions = {
						roundTrip,
						tls,
						handshakes,
						streams: count,
						...(limited ? {maxConnections: count} : {}),
					};
					return {conditions, members: modes.map(mode => ({mode})), isSimultaneous: mostlyWaits(conditions)};
				}),
			),
		),
	);
}

const DEFAULTS = 'defaults';
const LISTED = {smtp_connection_cache_destinations: '127.0.0.1'};
/** Variants of main.cf. Each differs from the defaults in one aspect. */
export const settings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
	[DEFAULTS]: {},
	'destination listed': LISTED,
	'listed, stored for 10 s': {
		...LISTED,
		smtp_connection_cache_time_limit: '10s',
		connection_cache_ttl_limit: '10s',
	},
	'nothing stored on demand': {smtp_connection_cache_on_demand: 'no'},
	'10 deliveries per connection': {smtp_connection_reuse_count_limit: '10'},
	'1 second per connection': {smtp_connection_reuse_time_limit: '1s'},
};

/**
 * Groups that compare settings: a full queue; a full queue for a receiver that limits connections, while
 * connections from earlier mail are still stored; two messages per second; one message every three seconds.
 * Each group has the settings that make a difference.
 */
export function variants(roundTrip: number, modes: readonly Mode[]): readonly Group[] {
	const names = Object.keys(settings);
	const few = names.slice(0, 3);
	const group = (variantNames: readonly string[], special: Partial<Conditions> = {}): Group => ({
		conditions: {roundTrip, tls: 'TLSv1.3', handshakes: 'full', streams: 20, ...special},
		members: variantNames.flatMap(variant =>
			modes.filter(mode => mode !== 'no reuse' || variant === DEFAULTS).map(mode => ({mode, variant})),
		),
		isSimultaneous: special.pace !== undefined,
	});
	return [
		group(names),
		group(few.slice(0, 2), {streams: 5, maxConnections: 5, again: true}),
		group(few, {pace: 2}),
		group(few, {pace: 1 / 3}),
	];
}
