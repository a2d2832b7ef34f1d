/*++
/* NAME
/*	tables 3
/* SUMMARY
/*	lookup tables whose values are files, read before the jail
/* DESCRIPTION
/*	Tables are read as a whole, by postmap(1), which knows all types
/*	and may read what root may read. In an indexed table that was made
/*	with "postmap -F" the contents of files are the values, in base64;
/*	in a table that is kept as text the values are names of files,
/*	which are read here.
/*
/*	A table of type proxy is read directly.
/* DIAGNOSTICS
/*	What postmap(1) warns of is logged.
/*
/*	A table that cannot be read is there, and each lookup fails, as
/*	with stock.
/*	ConfigurationError: a table of a type that postmap(1) cannot list.
/* SEE ALSO
/*	postmap(1), DATABASE_README; postfix src/global/maps.c,
/*	src/util/dict_file.c
/*--*/

import {readFileSync} from 'node:fs';
import {getSystemErrorMessage} from 'node:util';
import {ConfigurationError} from '../base/errors.ts';
import {splitList} from '../base/text.ts';
import * as log from '../log/log.ts';
import {commandLines} from './command.ts';
import type {Configuration} from './configuration.ts';

/** What was found under a key. */
export type LookupResult =
	| {readonly kind: 'value'; readonly bytes: Buffer}
	| {readonly kind: 'nothing'}
	/** Which the log has. */
	| {readonly kind: 'problem'};

/* Names and their values; undefined with a reason when the table could not be read. */
interface Table {
	/** Type and name. */
	readonly name: string;
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
	 * @throws {ConfigurationError} when one of them cannot be listed.
	 */
	static async read(configuration: Configuration, parameter: 'tls_server_sni_maps'): Promise<Tables> {
		const tables: Table[] = [];
		/* One after the other, so that their warnings are in this order. */
		for (const name of tablesIn(configuration.string(parameter))) {
			tables.push(await readTable(name.replace(/^(proxy:)+/, ''), configuration, parameter));
		}

		return new Tables(parameter, tables);
	}

	/** Whether there are any. */
	get empty(): boolean {
		return this.#tables.length === 0;
	}

	/** Looks a key up, in lower case, in one table after the other. Source: maps_file_find(), postfix src/global/maps.c. */
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

		/* Node.js decodes as much as it can of anything. */
		if (value.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(value)) {
			log.warning(`table ${table.name}: key ${name}: malformed BASE64 value: ${value.slice(0, 30)}`);
			return problem;
		}

		return {kind: 'value', bytes: Buffer.from(value, 'base64')};
	}
}

const problem: LookupResult = {kind: 'problem'};

/** The tables of a list: separated by commas or white space, but for what is in braces. */
export function tablesIn(list: string): readonly string[] {
	const names: string[] = [];
	let name = '';
	let depth = 0;
	for (const character of list) {
		depth += character === '{' ? 1 : character === '}' ? -1 : 0;
		if (depth <= 0 && /[ \t\r\n,]/.test(character)) {
			names.push(name);
			name = '';
		} else {
			name += character;
		}
	}

	return [...names, name].filter(text => text !== '');
}

/* What postmap(1) adds to the name of a table. Source: DATABASE_README. */
const suffixes: ReadonlyMap<string, string> = new Map([
	['btree', '.db'],
	['cdb', '.cdb'],
	['dbm', '.pag'],
	['hash', '.db'],
	['lmdb', '.lmdb'],
	['sdbm', '.pag'],
	['texthash', ''],
]);

/** The files that tables of a list are read from, as far as there are any. */
export function tableFiles(list: string): readonly string[] {
	return tablesIn(list).flatMap(table => {
		const [, type = '', name = ''] = /^(?:proxy:)*(\w+):(.*)$/s.exec(table) ?? [];
		const suffix = suffixes.get(type);
		return suffix === undefined ? [] : [name + suffix];
	});
}

/* Types that have the names of files, and not their contents. */
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

/* One bad name costs an inline table as a whole, and an entry of a file. */
function withFiles(name: string, type: string, entries: ReadonlyArray<readonly [string, string]>): Table {
	const contents = new Map<string, string>();
	for (const [key, value] of entries) {
		try {
			contents.set(key, read(value).toString('base64'));
		} catch (error) {
			const reason = error instanceof Error ? error.message : String(error);
			if (type === 'inline') {
				return unavailable(name, `${reason}: "${name}"; need "inline:{name=filename...}"`);
			}

			log.warning(`${name}, ${key}: ${reason}: skipping this entry`);
		}
	}

	return {name, entries: contents, reason: ''};
}

/* Stock logs this as an error, and 13 errors would end the process. */
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
		const why = getSystemErrorMessage(errno);
		throw new Error(`open ${file}: ${why.charAt(0).toUpperCase()}${why.slice(1)}`, {cause: error});
	}
}
