/*++
/* NAME
/*	exact 3
/* SUMMARY
/*	the white space that postconf(1) does not print
/* DESCRIPTION
/*	postconf(1) replaces each run of white space in a value by one
/*	blank. Postfix daemons use the value as it is in the file: lines
/*	that continue a setting are joined without their newlines, and
/*	white space at both ends is removed, but tabs and several blanks
/*	inside a value remain. A path with two blanks names another file
/*	than a path with one.
/*
/*	This module reads main.cf and master.cf for that white space, and
/*	for nothing else. A value from a file replaces a value that
/*	postconf(1) printed only if it is the same after folding. So a
/*	file that has changed in the meantime, or syntax that is unknown
/*	here, leaves what postconf(1) printed.
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
 * Puts white space back into values that postconf(1) printed.
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
		const [name = '', type = '', , , , , , , ...words] = tokens(line).map(unbraced);
		for (const [index, word] of words.entries()) {
			if (word.startsWith('-o')) {
				add(settings, `${name}/${type}/`, word === '-o' ? (words[index + 1] ?? '') : word.slice(2));
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
 * A line that begins with white space continues the one before it; comments and
 * empty lines in between do not end it. Source: readllines(), postfix src/util/readlline.c.
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

/* Words of a line; white space in braces does not end a word. Source: mystrtokq(), postfix src/util/mystrtok.c. */
function tokens(line: string): readonly string[] {
	const words: string[] = [];
	let word = '';
	let depth = 0;
	for (const character of `${line}\n`) {
		depth += character === '{' ? 1 : character === '}' ? -1 : 0;
		if (depth > 0 || !/[ \t\r\n]/.test(character)) {
			word += character;
		} else if (word !== '') {
			words.push(word);
			word = '';
		}
	}

	return words;
}

function unbraced(word: string): string {
	return word.startsWith('{') && word.endsWith('}') ? trimSpace(word.slice(1, -1)) : word;
}
