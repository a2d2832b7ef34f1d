/*++
/* NAME
/*	options 3
/* SUMMARY
/*	command-line options of a daemon under master(8)
/* DESCRIPTION
/*	parseOptions() parses the generic options of event-driven Postfix
/*	daemons. Options without a meaning for this program are ignored: -l
/*	and -z (process limits), -d and -D (debugging).
/*
/*	Service arguments follow the options as name=value, as with pipe(8):
/*	postconf(1) would warn about unknown names in main.cf or after -o.
/* DIAGNOSTICS
/*	ConfigurationError: an error of stock, with the same message; -S,
/*	because this program has no one-shot mode; a transport other than
/*	unix, through which descriptors cannot be passed.
/* SEE ALSO
/*	postfix src/master/event_server.c
/*	postfix src/util/split_nameval.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';
import type {Seconds} from '../base/units.ts';

/** The parsed command line. */
export interface Options {
	/** -c: enter the jail, `$queue_directory`. */
	readonly chroot: boolean;
	/** -u: drop privileges, and run as `$mail_owner`. */
	readonly unprivileged: boolean;
	/** -n: service name of master.cf; by default the base name of the program. */
	readonly serviceName?: string;
	/** -t */
	readonly transport: 'unix';
	/** -s: number of listening sockets, at least 1. */
	readonly socketCount: number;
	/** -o, -i and -m in the order given: later settings win. */
	readonly overrides: ReadonlyArray<readonly [name: string, value: string]>;
	/** -r: time after which the process accepts no more connections. */
	readonly retirement?: Seconds;
	/** -v: number of these options. */
	readonly verbose: number;
	/** -V: log to standard error as well. */
	readonly stderrToo: boolean;
	/** Service arguments; a later one wins. */
	readonly serviceArguments: ReadonlyMap<string, string>;
}

/**
 * Parses a command line.
 *
 * @param argv - the arguments, without the name of the program.
 * @param argumentNames - names of service arguments.
 * @throws {ConfigurationError} for a bad option, value or service argument.
 */
export function parseOptions(argv: readonly string[], argumentNames: readonly string[]): Options {
	const {options, rest} = getopt(argv);
	const overrides: Array<readonly [string, string]> = [];
	let chroot = false;
	let unprivileged = false;
	let serviceName: string | undefined;
	let transport: string | undefined;
	let socketCount = 1;
	let retirement: Seconds | undefined;
	let verbose = 0;
	let stderrToo = false;

	for (const [letter, value] of options) {
		switch (letter) {
			case 'c':
				chroot = true;
				break;
			case 'd':
			case 'D':
			case 'l':
			case 'z':
				break;
			case 'i':
				overrides.push(['max_idle', value]);
				break;
			case 'm':
				overrides.push(['max_use', value]);
				break;
			case 'n':
				serviceName = value;
				break;
			case 'o':
				overrides.push(override(value));
				break;
			case 'r':
				retirement = positiveNumber(value, 'retirement time') as Seconds;
				break;
			case 's':
				socketCount = positiveNumber(value, 'socket_count');
				break;
			case 'S':
				throw new ConfigurationError('option -S is not supported: this program runs under master(8) only');
			case 't':
				transport = value;
				break;
			case 'u':
				unprivileged = true;
				break;
			case 'v':
				verbose++;
				break;
			case 'V':
				stderrToo = true;
				break;
			default:
				throw new ConfigurationError(`invalid option: ${letter}`);
		}
	}

	if (transport === undefined) {
		throw new ConfigurationError('no transport type specified');
	}

	if (transport.toLowerCase() !== 'unix') {
		throw new ConfigurationError(`unsupported transport type: ${transport}`);
	}

	return {
		chroot,
		unprivileged,
		...(serviceName !== undefined && {serviceName}),
		transport: 'unix',
		socketCount,
		overrides,
		...(retirement !== undefined && {retirement}),
		verbose,
		stderrToo,
		serviceArguments: new Map(rest.map(argument => serviceArgument(argument, argumentNames))),
	};
}

/** All options, in the format of getopt(3). Source: event_server.c. */
const OPTIONS = 'cdDi:lm:n:o:r:s:St:uvVz';

/** Like getopt(3) of POSIX, stops at the first argument that is not an option. */
function getopt(argv: readonly string[]): {
	readonly options: ReadonlyArray<readonly [letter: string, value: string]>;
	readonly rest: readonly string[];
} {
	const options: Array<readonly [string, string]> = [];
	let next = 0;
	for (let argument = argv[next]; argument !== undefined && /^-./s.test(argument); argument = argv[next]) {
		next++;
		if (argument === '--') {
			break;
		}

		for (let at = 1; at < argument.length; at++) {
			const letter = argument.charAt(at);
			const known = letter === ':' ? -1 : OPTIONS.indexOf(letter);
			if (known < 0) {
				throw new ConfigurationError(`invalid option: ${letter}`);
			}

			if (OPTIONS[known + 1] !== ':') {
				options.push([letter, '']);
				continue;
			}

			const value = at + 1 < argument.length ? argument.slice(at + 1) : argv[next++];
			if (value === undefined) {
				throw new ConfigurationError(`invalid option: ${letter}`);
			}

			options.push([letter, value]);
			break;
		}
	}

	return {options, rest: argv.slice(next)};
}

/** Splits the value of an -o option. */
function override(value: string): readonly [name: string, value: string] {
	const split = splitNameValue(value);
	if (typeof split === 'string') {
		throw new ConfigurationError(`invalid "-o ${value}" option value: ${split}`);
	}

	return split;
}

function serviceArgument(
	argument: string,
	argumentNames: readonly string[],
): readonly [name: string, value: string] {
	const split = splitNameValue(argument);
	if (typeof split === 'string' || !argumentNames.includes(split[0])) {
		throw new ConfigurationError(`unexpected command-line argument: ${argument}`);
	}

	return split;
}

/**
 * Splits `name = value` and removes white space.
 *
 * @returns the pair, or an error message.
 * Source: split_nameval().
 */
function splitNameValue(text: string): readonly [name: string, value: string] | string {
	const [, name = '', equals, value = ''] = nameValue.exec(text) ?? [];
	if (name === '') {
		return 'missing attribute name';
	}

	return equals === undefined ? "missing '=' after attribute name" : [name, value];
}

/* White space of isspace(3) in the C locale: tab, line feed, vertical tab, form feed, carriage return, and space. */
const nameValue = /^[ \t-\r]*([^ \t-\r=]*)[ \t-\r]*(=)?[ \t-\r]*(.*?)[ \t-\r]*$/s;

/** Converts like atoi(3), and requires a number greater than zero. */
function positiveNumber(value: string, label: string): number {
	const number = Number.parseInt(value, 10);
	if (!(number > 0)) {
		throw new ConfigurationError(`invalid ${label}: ${value}`);
	}

	return number;
}
