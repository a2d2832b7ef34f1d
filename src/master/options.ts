/*++
/* NAME
/*	options 3
/* SUMMARY
/*	command line of a daemon under master(8)
/* DESCRIPTION
/*	parseOptions() reads the generic options that master(8) and
/*	master.cf give to every event-driven daemon. What only matters to
/*	other programs is accepted and ignored: -l and -z (we run under
/*	any process limit), -d and -D (debugging).
/*
/*	Settings of our own follow the options as name=value words, as
/*	with pipe(8): postconf(1) would warn about unknown names in
/*	main.cf or behind -o.
/* DIAGNOSTICS
/*	ConfigurationError: what stock refuses, in the same words; -S,
/*	because this program has no one-shot mode; a transport other than
/*	unix, over which no descriptor can be received.
/* SEE ALSO
/*	postfix src/master/event_server.c
/*	postfix src/util/split_nameval.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';
import type {Seconds} from '../base/units.ts';

/** What the command line says. */
export interface Options {
	/** -c: enter the jail, `$queue_directory`. */
	readonly chroot: boolean;
	/** -u: give up root for `$mail_owner`. */
	readonly unprivileged: boolean;
	/** -n: first column of master.cf; without, the base name of the program. */
	readonly serviceName?: string;
	/** -t */
	readonly transport: 'unix';
	/** -s: number of listening sockets, at least 1. */
	readonly socketCount: number;
	/** -o, -i and -m in the order given: later settings win. */
	readonly overrides: ReadonlyArray<readonly [name: string, value: string]>;
	/** -r: age at which the process retires. */
	readonly retirement?: Seconds;
	/** -v: how often. */
	readonly verbose: number;
	/** -V: log to standard error, too. */
	readonly stderrToo: boolean;
	/** Settings of our own; a later one wins. */
	readonly serviceArguments: ReadonlyMap<string, string>;
}

/**
 * Parses a command line.
 *
 * @param argv - the arguments, without the name of the program.
 * @param knownWords - names that may occur as name=value behind the options.
 * @throws {ConfigurationError} for a bad option, value or word.
 */
export function parseOptions(argv: readonly string[], knownWords: readonly string[]): Options {
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
				overrides.push(setting(value));
				break;
			case 'r':
				retirement = positive(value, 'retirement time') as Seconds;
				break;
			case 's':
				socketCount = positive(value, 'socket_count');
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
		serviceArguments: new Map(rest.map(word => knownWord(word, knownWords))),
	};
}

/** The letters of all options, and which take a value, as for getopt(3). Source: event_server.c. */
const OPTIONS = 'cdDi:lm:n:o:r:s:St:uvVz';

/** getopt(3) that stops at the first word which is not an option, as Postfix uses it. */
function getopt(argv: readonly string[]): {
	readonly options: ReadonlyArray<readonly [letter: string, value: string]>;
	readonly rest: readonly string[];
} {
	const options: Array<readonly [string, string]> = [];
	let next = 0;
	for (let word = argv[next]; word !== undefined && /^-./s.test(word); word = argv[next]) {
		next++;
		if (word === '--') {
			break;
		}

		for (let at = 1; at < word.length; at++) {
			const letter = word.charAt(at);
			const known = letter === ':' ? -1 : OPTIONS.indexOf(letter);
			if (known < 0) {
				throw new ConfigurationError(`invalid option: ${letter}`);
			}

			if (OPTIONS[known + 1] !== ':') {
				options.push([letter, '']);
				continue;
			}

			const value = at + 1 < word.length ? word.slice(at + 1) : argv[next++];
			if (value === undefined) {
				throw new ConfigurationError(`invalid option: ${letter}`);
			}

			options.push([letter, value]);
			break;
		}
	}

	return {options, rest: argv.slice(next)};
}

/** The name and value of an -o option. */
function setting(value: string): readonly [name: string, value: string] {
	const split = splitNameValue(value);
	if (typeof split === 'string') {
		throw new ConfigurationError(`invalid "-o ${value}" option value: ${split}`);
	}

	return split;
}

function knownWord(word: string, knownWords: readonly string[]): readonly [name: string, value: string] {
	const split = splitNameValue(word);
	if (typeof split === 'string' || !knownWords.includes(split[0])) {
		throw new ConfigurationError(`unexpected command-line argument: ${word}`);
	}

	return split;
}

/**
 * Splits `name = value` and trims the blanks.
 *
 * @returns the pair, or what is wrong.
 * Source: split_nameval().
 */
function splitNameValue(text: string): readonly [name: string, value: string] | string {
	const [, name = '', equals, value = ''] = nameValue.exec(text) ?? [];
	if (name === '') {
		return 'missing attribute name';
	}

	return equals === undefined ? "missing '=' after attribute name" : [name, value];
}

/* Blanks are those of isspace(3) in the C locale: the five controls from tab on, and the space. */
const nameValue = /^[ \t-\r]*([^ \t-\r=]*)[ \t-\r]*(=)?[ \t-\r]*(.*?)[ \t-\r]*$/s;

/** What atoi(3) makes of a value that must be greater than zero. */
function positive(value: string, what: string): number {
	const number = Number.parseInt(value, 10);
	if (!(number > 0)) {
		throw new ConfigurationError(`invalid ${what}: ${value}`);
	}

	return number;
}
