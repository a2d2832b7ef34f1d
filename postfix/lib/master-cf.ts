/*++
/* NAME
/*	master-cf 3
/* SUMMARY
/*	edit one service in the text of master.cf
/* DESCRIPTION
/*	register() adds a service to the text; uninstall(1) removes it. The
/*	text has one character per byte (latin1), so that any content of
/*	the file is preserved.
/*
/*	register() writes a block between two marker comments. The lines
/*	that it replaces become comments in the block, and a marker records
/*	that the file did not end with a newline. With this information
/*	uninstall(1) restores every byte, even if other parts of the file
/*	were edited in the meantime.
/*
/*	The block is added at the end of the file, or replaces the active
/*	line of the service. A line that is commented out is never changed:
/*	it can be between another service and its options, where nothing
/*	can be inserted.
/*
/*	postconf(1) writes the line that it edits in front of the next
/*	service. This moves the line of this program out of the block, or
/*	the line of another service into the block. The service is
/*	therefore recognized by its name and command, at any position.
/*	Registering it again moves its line back into the block, with all
/*	edits, and other lines out of the block.
/* DIAGNOSTICS
/*	UsageError: the text contains lines that cannot be replaced safely.
/* SEE ALSO
/*	uninstall(1), master(5)
/*	postfix src/util/readlline.c, src/master/master_ent.c
/*	postfix src/postconf/postconf_edit.c
/*--*/

import {UsageError} from './usage-error.ts';

/** An active service definition. */
export interface Entry {
	readonly name: string;
	readonly type: string;
	readonly private: string;
	readonly unprivileged: string;
	readonly chroot: string;
	readonly wakeup: string;
	readonly limit: string;
	readonly command: string;
	/** Indexes of the first physical line and of the line after the last one. */
	readonly lines: readonly [first: number, end: number];
	/** The text after the command: the rest of its line, and the lines that continue it, unchanged. */
	readonly rest: string;
}

/** The service to register. */
export interface Registration {
	readonly service: string;
	/** Command column: the path of the program, relative to daemon_directory. */
	readonly command: string;
	/** Chroot column. Default: that of the active line, or `n`. */
	readonly chroot?: 'y' | 'n';
	/** Process limit. Default: that of an earlier registration, or `defaultLimit`. */
	readonly limit?: number;
	readonly defaultLimit: number;
}

/** The result of register(). */
export interface Change {
	/** The new text of the whole file. */
	readonly text: string;
	/** The active lines of the service before the change; empty if it was not defined. */
	readonly before: string;
	/** The active lines of the service after the change. */
	readonly after: string;
}

/** The lines between two marker comments, with the markers. */
interface Block {
	/** Index of the first line. */
	readonly first: number;
	/** Index of the line after the last one. */
	readonly end: number;
	/** The lines that an earlier registration replaced. */
	readonly replaced: readonly string[];
	/** Whether the file did not end with a newline before the registration. */
	readonly noNewline: boolean;
}

/* These texts are in the files of existing installations, and in uninstall(1): they must not be changed. */
const BEGIN = '# BEGIN postfix-tlsproxy';
const END = '# END postfix-tlsproxy';
const anyBegin = new RegExp(`^${BEGIN} (\\S+)`);
const REPLACED = '#was: ';
const NO_NEWLINE = '(the file had no newline at its end)';
const REMARK = '# Made by install, taken out again by uninstall. Options may be added below the service.';

/**
 * Adds a service to master.cf, or updates its block.
 *
 * @param text - the text of master.cf.
 * @returns the change. Its text equals the old one if the service is registered already.
 * @throws {UsageError} if the name is that of a service of another program, or if the block is damaged.
 */
export function register(text: string, wanted: Registration): Change {
	const lines = physicalLines(text);
	const all = entriesOf(lines);
	const block = findBlock(lines, wanted.service);
	const found = findService(all, wanted.service);
	if (block !== undefined && found === undefined) {
		checkNotRenamed(lines, all, block, wanted.service);
	}

	/* If the command was changed back to that of Postfix, that line is replaced, instead of the line in the block. */
	const edited = block !== undefined && found !== undefined && runsThisProgram(found) ? found : undefined;
	const replaced = edited === undefined ? found : undefined;
	const first = replaced?.lines[0] ?? block?.first ?? lines.length;
	const remains = remainingLines(lines, all, block, found);
	const rest = lines.flatMap((line, number) => (number >= first && remains[number] === true ? [line] : []));
	checkContinuation(rest, lines, wanted.service);
	const before = found === undefined ? '' : lines.slice(...found.lines).join('');
	const atEnd = (replaced?.lines[1] ?? lines.length) === lines.length;
	const replacedLines =
		replaced === undefined ? (block?.replaced ?? []) : lines.slice(...replaced.lines).map(withoutNewline);
	const noNewline =
		replaced === undefined && block !== undefined
			? block.noNewline
			: atEnd && text !== '' && !text.endsWith('\n');
	const limit = wanted.limit ?? edited?.limit ?? wanted.defaultLimit;
	const after = serviceLines(wanted, found, String(limit));
	const head = lines.filter((_, number) => number < first && remains[number] === true).join('');
	return {
		text:
			(head === '' || head.endsWith('\n') ? head : `${head}\n`) +
			`${BEGIN} ${wanted.service}${noNewline ? ` ${NO_NEWLINE}` : ''}\n${REMARK}\n` +
			replacedLines.map(line => `${REPLACED}${line}\n`).join('') +
			`${after}${END} ${wanted.service}\n` +
			rest.join(''),
		before,
		after,
	};
}

/* Whether each line remains. The service and the block are removed, with all comments in it unless it contains other services. */
function remainingLines(
	lines: readonly string[],
	all: readonly Entry[],
	block: Block | undefined,
	found: Entry | undefined,
): readonly boolean[] {
	const isActive = (number: number): boolean => !isIgnored(lines[number] ?? '');
	const isFound = (number: number): boolean =>
		found !== undefined && number >= found.lines[0] && number < found.lines[1];
	const inBlock = (number: number): boolean =>
		block !== undefined && number >= block.first && number < block.end;
	const shared = all.some(entry => entry !== found && inBlock(entry.lines[0]));
	return lines.map((line, number) => {
		if (isFound(number)) {
			return false;
		}

		return !inBlock(number) || isActive(number) || (shared && !isBlockComment(line));
	});
}

/* Whether register() wrote a comment. */
function isBlockComment(line: string): boolean {
	return [BEGIN, END, REMARK, REPLACED].some(text => line.startsWith(text));
}

/* A line that continues a service in front of the block would continue this service. */
function checkContinuation(rest: readonly string[], lines: readonly string[], service: string): void {
	const [next] = rest.filter(line => !isIgnored(line));
	if (next !== undefined && isContinuation(next)) {
		throw new UsageError(
			`a line after the block of ${service}/unix continues another service: move it:${numbered(lines, lines.indexOf(next))}`,
		);
	}
}

/* With the service under both names, two services would run the program, and edits of the renamed one would be lost. */
function checkNotRenamed(
	lines: readonly string[],
	all: readonly Entry[],
	block: Block,
	service: string,
): void {
	const names = new Set(lines.map(line => anyBegin.exec(line)?.[1]));
	const other = all.find(entry => runsThisProgram(entry) && !names.has(entry.name));
	if (other !== undefined) {
		const title = `${other.name}/${other.type}`;
		throw new UsageError(
			`service ${service}/unix is missing, and service ${title} runs this program: restore its name (postconf -F ${title}/service=${service}), or remove it:${numbered(lines, ...range(...other.lines), block.first, block.end - 1)}`,
		);
	}
}

function range(first: number, end: number): readonly number[] {
	return Array.from({length: end - first}, (_, index) => first + index);
}

function numbered(lines: readonly string[], ...numbers: readonly number[]): string {
	return numbers.map(number => `\n  ${number + 1}: ${withoutNewline(lines[number] ?? '')}`).join('');
}

/* This copy or another one. The program of Postfix is in daemon_directory, and its command contains no slash. */
function runsThisProgram({command}: Entry): boolean {
	return command.endsWith('/tlsproxy');
}

/** All active service definitions. */
export function entries(text: string): readonly Entry[] {
	return entriesOf(physicalLines(text));
}

function physicalLines(text: string): readonly string[] {
	return text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
}

function withoutNewline(line: string): string {
	return line.endsWith('\n') ? line.slice(0, -1) : line;
}

/* Empty lines and comments are not part of any definition, even between its lines. */
function isIgnored(line: string): boolean {
	return /^[ \t\r\v\f\n]*(#|$)/.test(line);
}

function isContinuation(line: string): boolean {
	return /^[ \t\r\v\f]/.test(line) && !isIgnored(line);
}

function entriesOf(lines: readonly string[]): readonly Entry[] {
	const found: Entry[] = [];
	for (let first = 0; first < lines.length; ) {
		const line = lines[first] ?? '';
		let end = first + 1;
		if (!isIgnored(line)) {
			for (let next = end; next < lines.length; next++) {
				const following = lines[next] ?? '';
				if (isContinuation(following)) {
					end = next + 1;
				} else if (!isIgnored(following)) {
					break;
				}
			}

			const entry = parseEntry(lines, first, end);
			if (entry !== undefined) {
				found.push(entry);
			}
		}

		first = end;
	}

	return found;
}

/* The eight columns can be on more than one line. The text after them is preserved. */
function parseEntry(lines: readonly string[], first: number, end: number): Entry | undefined {
	const columns: string[] = [];
	for (let number = first; number < end; number++) {
		const line = lines[number] ?? '';
		if (number > first && isIgnored(line)) {
			continue;
		}

		for (const column of line.matchAll(/[^ \t\r\n]+/g)) {
			columns.push(column[0]);
			if (columns.length === 8) {
				const [
					name = '',
					type = '',
					isPrivate = '',
					unprivileged = '',
					chroot = '',
					wakeup = '',
					limit = '',
					command = '',
				] = columns;
				const remainder = line.slice(column.index + column[0].length);
				const rest =
					(isIgnored(remainder) && !remainder.includes('#') ? '\n' : remainder) +
					lines.slice(number + 1, end).join('');
				return {
					name,
					type,
					private: isPrivate,
					unprivileged,
					chroot,
					wakeup,
					limit,
					command,
					lines: [first, end],
					rest,
				};
			}
		}
	}

	return undefined;
}

function findService(all: readonly Entry[], service: string): Entry | undefined {
	const named = all.filter(entry => entry.name === service);
	for (const entry of named) {
		const where = `service ${service}/${entry.type} in line ${entry.lines[0] + 1}`;
		if (entry.type !== 'unix') {
			throw new UsageError(`${where} does not have the type unix: choose another service name`);
		}

		if (/^n/i.test(entry.private)) {
			throw new UsageError(
				`${where} is not private, and clients connect to private/${service}: choose another service name`,
			);
		}

		if (entry.command !== 'tlsproxy' && !entry.command.endsWith('/tlsproxy')) {
			throw new UsageError(`${where} runs ${entry.command}, not tlsproxy: choose another service name`);
		}
	}

	const [found, second] = named;
	if (second !== undefined) {
		throw new UsageError(
			`service ${service}/unix is defined twice, in lines ${(found?.lines[0] ?? 0) + 1} and ${second.lines[0] + 1}`,
		);
	}

	return found;
}

function findBlock(lines: readonly string[], service: string): Block | undefined {
	const begins = numbersOf(
		lines,
		line => line === `${BEGIN} ${service}` || line === `${BEGIN} ${service} ${NO_NEWLINE}`,
	);
	const ends = numbersOf(lines, line => line === `${END} ${service}`);
	const [begin] = begins;
	const [last] = ends;
	if (begin === undefined && last === undefined) {
		return undefined;
	}

	if (begin === undefined || last === undefined || begins.length > 1 || ends.length > 1 || last < begin) {
		throw new UsageError(
			`the marker comments of service ${service}/unix are damaged: each must exist once, BEGIN in front of END:${numbered(lines, ...[...begins, ...ends].toSorted((a, b) => a - b))}`,
		);
	}

	const content = lines.slice(begin + 1, last).map(withoutNewline);
	return {
		first: begin,
		end: last + 1,
		replaced: content.filter(line => line.startsWith(REPLACED)).map(line => line.slice(REPLACED.length)),
		noNewline: (lines[begin] ?? '').includes(NO_NEWLINE),
	};
}

function numbersOf(lines: readonly string[], isWanted: (line: string) => boolean): readonly number[] {
	return lines.flatMap((line, number) => (isWanted(line.trimEnd()) ? [number] : []));
}

function serviceLines(wanted: Registration, found: Entry | undefined, limit: string): string {
	const columns = [
		'unix',
		'-',
		found?.unprivileged ?? '-',
		wanted.chroot ?? found?.chroot ?? 'n',
		found?.wakeup ?? '-',
		limit,
	].map(column => column.padEnd(7));
	/* Options can be after the end marker. */
	const rest = physicalLines(found?.rest ?? '\n')
		.filter(line => !isBlockComment(line))
		.join('');
	return `${wanted.service.padEnd(9)} ${columns.join(' ')} ${wanted.command}${rest.endsWith('\n') ? rest : `${rest}\n`}`;
}
