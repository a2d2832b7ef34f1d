/*++
/* NAME
/*	tables 3
/* SUMMARY
/*	lookup tables whose values are the contents of files
/* DESCRIPTION
/*	Tables are read completely before the process enters its jail, with
/*	postmap(1), which supports all types and runs as root. An indexed
/*	table that was made with "postmap -F" contains the contents of
/*	files, in base64. A table that is a text file or in main.cf
/*	contains the names of files, which this module reads.
/*
/*	A table of type proxy is read directly.
/* DIAGNOSTICS
/*	The warnings of postmap(1) are logged.
/*
/*	If a table cannot be read, a warning is logged and each lookup in
/*	it fails, as with stock.
/*
/*	ConfigurationError: the type of a table does not allow postmap(1)
/*	to list it.
/* SEE ALSO
/*	postmap(1), DATABASE_README; postfix src/global/maps.c,
/*	src/util/dict_file.c
/*--*/

import {readFileSync} from 'node:fs';
import {getSystemErrorMessage} from 'node:util';
import {ConfigurationError} from '../base/errors.ts';
import {decodeBase64, errorText, splitList} from '../base/text.ts';
import * as log from '../log/log.ts';
import {commandLines} from './command.ts';
import type {Configuration} from './configuration.ts';
import {tablesIn} from './postconf-output.ts';

/** The result of a lookup. */
export type LookupResult =
	| {readonly kind: 'value'; readonly bytes: Buffer}
	| {readonly kind: 'nothing'}
	/** The lookup failed, and the reason has been logged. */
	| {readonly kind: 'problem'};

interface Table {
	/** `type:name`. */
	readonly name: string;
	/** Values by key; undefined if the table could not be read, for a reason. */
	readonly entries: ReadonlyMap<string, string> | undefined;
	readonly reason: string;
}

/** A list of tables. */
export class Tables {
	readonly #parameter: string;
	readonly #tables: readonly Table[];

	private constructor(parameter: string, tables: readonly Table[]) {
		this.#parameter = parameter;
		this.#tables = tables;
	}

	/**
	 * Reads the tables that a parameter names.
	 *
	 * @throws {ConfigurationError} if one of them cannot be listed.
	 */
	static async read(configuration: Configuration, parameter: 'tls_server_sni_maps'): Promise<Tables> {
		const tables: Table[] = [];
		/* Not in parallel, so that warnings are logged in the order of the list. */
		for (const name of tablesIn(configuration.string(parameter))) {
			tables.push(await readTable(name.replace(/^(proxy:)+/, ''), configuration, parameter));
		}

		return new Tables(parameter, tables);
	}

	/** Whether the list is empty. */
	get empty(): boolean {
		return this.#tables.length === 0;
	}

	/** Looks up a key, in lower case, in the tables in their order. Source: maps_file_find(), postfix src/global/maps.c. */
	find(name: string): LookupResult {
		const key = name.toLowerCase();
		for (const table of this.#tables) {
			if (table.entries === undefined) {
				log.warning(`${table.name} is unavailable. ${table.reason}`);
				log.warning(`${table.name} lookup error for "${name}"`);
				return problem;
			}

			const value = table.entries.get(key);
			if (value !== undefined) {
				return this.#decode(table, name, value);
			}
		}

		return {kind: 'nothing'};
	}

	#decode(table: Table, name: string, value: string): LookupResult {
		if (value === '') {
			log.warning(`${this.#parameter} lookup of ${name} returns an empty string result`);
			log.warning(`${this.#parameter} should return NO RESULT in case of NOT FOUND`);
			return problem;
		}

		const bytes = decodeBase64(value);
		if (bytes === undefined) {
			log.warning(`table ${table.name}: key ${name}: malformed BASE64 value: ${value.slice(0, 30)}`);
			return problem;
		}

		return {kind: 'value', bytes};
	}
}

const problem: LookupResult = {kind: 'problem'};

/* The suffix of the file of each type that has one file. Source: DATABASE_README. */
const suffixes: ReadonlyMap<string, string> = new Map([
	['btree', '.db'],
	['cdb', '.cdb'],
	['dbm', '.pag'],
	['hash', '.db'],
	['lmdb', '.lmdb'],
	['sdbm', '.pag'],
	['texthash', ''],
]);

/** The files of those tables of a list that are files. */
export function tableFiles(list: string): readonly string[] {
	return tablesIn(list).flatMap(table => {
		const [, type = '', name = ''] = /^(?:proxy:)*(\w+):(.*)$/s.exec(table) ?? [];
		const suffix = suffixes.get(type);
		return suffix === undefined ? [] : [name + suffix];
	});
}

/* Types that contain the names of files, not their contents. */
const textTypes: ReadonlySet<string> = new Set(['inline', 'texthash']);

async function readTable(name: string, configuration: Configuration, parameter: string): Promise<Table> {
	const postmap = `${configuration.string('command_directory')}/postmap`;
	let lines: readonly string[];
	try {
		lines = await commandLines(postmap, ['-c', configuration.configDirectory, '-s', name], log.warning);
	} catch (reason) {
		if (!(reason instanceof ConfigurationError)) {
			throw reason;
		}

		if (/: sequence (?:operation|error)|can't sequence/.test(reason.message)) {
			throw new ConfigurationError(
				`${parameter}: ${name} cannot be listed, and this program does not look up tables after it has given up its privileges`,
				{cause: reason},
			);
		}

		return unavailable(name, reason.message);
	}

	const entries = lines.map(line => {
		const end = line.indexOf('\t');
		return [line.slice(0, end), line.slice(end + 1)] as const;
	});
	const type = name.slice(0, name.indexOf(':'));
	return textTypes.has(type) ? withFiles(name, type, entries) : {name, entries: new Map(entries), reason: ''};
}

/*
 * Replaces names of files by their contents. If a file cannot be read, an inline table is unavailable, and
 * a text file lacks the entry.
 */
function withFiles(name: string, type: string, entries: ReadonlyArray<readonly [string, string]>): Table {
	const contents = new Map<string, string>();
	for (const [key, value] of entries) {
		try {
			contents.set(key, read(value).toString('base64'));
		} catch (error) {
			const reason = errorText(error);
			if (type === 'inline') {
				return unavailable(name, `${reason}: "${name}"; need "inline:{name=filename...}"`);
			}

			log.warning(`${name}, ${key}: ${reason}: skipping this entry`);
		}
	}

	return {name, entries: contents, reason: ''};
}

/* A warning; stock logs an error, and ends the process after 13 errors. */
function unavailable(name: string, reason: string): Table {
	log.warning(reason);
	return {name, entries: undefined, reason};
}

function read(files: string): Buffer {
	return Buffer.from(splitList(files).map(contentsOf).join('\n'), 'latin1');
}

function contentsOf(file: string): string {
	try {
		return readFileSync(file, 'latin1');
	} catch (error) {
		const {errno = 0} = error as NodeJS.ErrnoException;
		const message = getSystemErrorMessage(errno);
		throw new Error(`open ${file}: ${message.charAt(0).toUpperCase()}${message.slice(1)}`, {cause: error});
	}
}
