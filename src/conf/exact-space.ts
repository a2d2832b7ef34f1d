/*++
/* NAME
/*	exact-space 3
/* SUMMARY
/*	read white space that postconf(1) does not print
/* DESCRIPTION
/*	postconf(1) replaces each run of white space in a value by one
/*	blank. Postfix daemons use the value as it is in the file: lines
/*	that continue a setting are joined without their newlines, and
/*	white space at both ends is removed, but tabs and several blanks
/*	inside a value remain. A path with two blanks names another file
/*	than a path with one.
/*
/*	This module reads main.cf and master.cf only for that white space.
/*	A value from a file replaces a value that postconf(1) printed only
/*	if both are equal after each run of white space is replaced by one
/*	blank. If a file has changed in the meantime, or has syntax that
/*	this module does not know, the printed value remains.
/* DIAGNOSTICS
/*	None: without a readable file, nothing is replaced.
/* SEE ALSO
/*	postfix src/util/readlline.c, src/util/split_nameval.c
/*	postfix src/util/mystrtok.c, src/util/extpar.c
/*	postfix src/postconf/postconf_print.c
/*--*/

import {readFileSync} from 'node:fs';
import {foldSpace, trimSpace} from '../base/text.ts';

/** Values by parameter name; for a parameter of a service, by `name/type/parameter`. */
export type Values = ReadonlyMap<string, string>;

/**
 * Restores the white space in values that postconf(1) printed.
 *
 * @param printed - output of postconf(1), or of `postconf -P`.
 * @param written - the same settings as they are in the file.
 */
export function withExactSpace(printed: Values, written: Values): Map<string, string> {
	const values = new Map(printed);
	for (const [name, value] of written) {
		if (printed.get(name) === foldSpace(value)) {
			values.set(name, value);
		}
	}

	return values;
}

/** The settings of main.cf. Empty if the file cannot be read. */
export function readMainCf(directory: string): Values {
	const settings = new Map<string, string>();
	for (const line of logicalLines(textOf(`${directory}/main.cf`))) {
		add(settings, '', line);
	}

	return settings;
}

/** The settings of services in master.cf. Empty if the file cannot be read. */
export function readMasterCf(directory: string): Values {
	const settings = new Map<string, string>();
	for (const line of logicalLines(textOf(`${directory}/master.cf`))) {
		const [name = '', type = '', , , , , , , ...options] = fieldsOf(line).map(unbraced);
		for (const [index, option] of options.entries()) {
			if (option.startsWith('-o')) {
				add(settings, `${name}/${type}/`, option === '-o' ? (options[index + 1] ?? '') : option.slice(2));
			}
		}
	}

	return settings;
}

function add(settings: Map<string, string>, prefix: string, text: string): void {
	const [, name, value = ''] = /^[ \t\n\v\f\r]*([^= \t\n\v\f\r]+)[ \t\n\v\f\r]*=(.*)$/s.exec(text) ?? [];
	if (name !== undefined) {
		settings.set(prefix + name, trimSpace(value));
	}
}

function textOf(file: string): string {
	try {
		return readFileSync(file, 'utf8');
	} catch {
		return '';
	}
}

/*
 * A line that begins with white space continues the previous line; comments and
 * empty lines in between do not end that line. Source: readllines(), postfix src/util/readlline.c.
 */
function logicalLines(text: string): readonly string[] {
	const lines: string[] = [];
	for (const line of text.split('\n')) {
		if (/^[ \t\v\f\r]*(#|$)/.test(line)) {
			continue;
		}

		const continues = /^[ \t\v\f\r]/.test(line);
		if (!continues) {
			lines.push(line);
		} else if (lines.length > 0) {
			lines.push(`${lines.pop()}${line}`);
		}
	}

	return lines;
}

/* The fields of a line; white space in braces does not end a field. Source: mystrtokq(), postfix src/util/mystrtok.c. */
function fieldsOf(line: string): readonly string[] {
	const fields: string[] = [];
	let field = '';
	let depth = 0;
	for (const character of `${line}\n`) {
		depth += character === '{' ? 1 : character === '}' ? -1 : 0;
		if (depth > 0 || !/[ \t\r\n]/.test(character)) {
			field += character;
		} else if (field !== '') {
			fields.push(field);
			field = '';
		}
	}

	return fields;
}

function unbraced(field: string): string {
	return field.startsWith('{') && field.endsWith('}') ? trimSpace(field.slice(1, -1)) : field;
}
