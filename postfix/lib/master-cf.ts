/*++
/* NAME
/*	master-cf 3
/* SUMMARY
/*	one service in the text of master.cf
/* DESCRIPTION
/*	register() puts a service into the text; uninstall(1) takes it out
/*	again. Text in, text out; one character is one byte (latin1), so
/*	that whatever is in the file survives.
/*
/*	What register() adds stands between two marker comments. Lines that
/*	it replaces are kept there as comments, and a missing newline at the
/*	end of the file is noted. uninstall(1) needs nothing else to restore
/*	every byte, also when other parts of the file were edited since.
/*
/*	A block is added at the end of the file, or takes the place of the
/*	active line of the service. A commented-out line is never touched:
/*	it can stand between another service and its options, where nothing
/*	can be inserted.
/*
/*	postconf(1) writes the line that it edits in front of the next
/*	service, and therefore moves our line out of the block, or the line
/*	of a neighbor into it. The service is therefore recognized by its
/*	name and its command, wherever it stands. Registering it again puts
/*	the line back into the block, with everything that was edited, and
/*	puts other lines out.
/* DIAGNOSTICS
/*	Refusal: the text has something that cannot be replaced safely.
/* SEE ALSO
/*	uninstall(1), master(5)
/*	postfix src/util/readlline.c, src/master/master_ent.c
/*	postfix src/postconf/postconf_edit.c
/*--*/

/** Something that the administrator has to decide; nothing was changed. */
export class UsageError extends Error {
	override readonly name = 'Refusal';
}

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
	/** Physical lines, the first and the one behind the last, counted from 0. */
	readonly lines: readonly [first: number, end: number];
	/** What follows the command, as it stands: the rest of its line, and all lines below. */
	readonly rest: string;
}

/** The service to register. */
export interface Registration {
	readonly service: string;
	/** Command column: path of the program, relative to daemon_directory. */
	readonly command: string;
	/** Chroot column; without, what the active line has, or `n`. */
	readonly chroot?: 'y' | 'n';
	/** Process limit; without, what the line of an earlier registration has, or `defaultLimit`. */
	readonly limit?: number;
	readonly defaultLimit: number;
}

/** What register() did. */
export interface Change {
	/** The whole file, new. */
	readonly text: string;
	/** Active lines before, empty when there were none. */
	readonly before: string;
	/** Active lines after, likewise. */
	readonly after: string;
}

interface Block {
	readonly first: number;
	readonly end: number;
	readonly kept: readonly string[];
	readonly noNewline: boolean;
}

const BEGIN = '# BEGIN postfix-tlsproxy';
const END = '# END postfix-tlsproxy';
const anyBegin = new RegExp(`^${BEGIN} (\\S+)`);
const KEPT = '#was: ';
const NO_NEWLINE = '(the file had no newline at its end)';
const REMARK = '# Made by install, taken out again by uninstall. Options may be added below the service.';

/**
 * The service as active line, in a block of its own.
 *
 * @param text - master.cf.
 * @returns the new text; equal to the old one when there is nothing to do.
 * @throws {UsageError} when the name belongs to something else, or the file is damaged.
 */
export function register(text: string, wanted: Registration): Change {
	const lines = physicalLines(text);
	const all = entriesOf(lines);
	const block = findBlock(lines, wanted.service);
	const found = findService(all, wanted.service);
	if (block !== undefined && found === undefined) {
		checkNotRenamed(lines, all, block, wanted.service);
	}

	/* After the command was changed to that of Postfix, that line is what gets replaced, and not what once was. */
	const edited = block !== undefined && found !== undefined && runsThisProgram(found) ? found : undefined;
	const replaced = edited === undefined ? found : undefined;
	const first = replaced?.lines[0] ?? block?.first ?? lines.length;
	const remains = remainingLines(lines, all, block, found);
	const rest = lines.flatMap((line, number) => (number >= first && remains[number] === true ? [line] : []));
	checkContinuation(rest, lines, wanted.service);
	const before = found === undefined ? '' : lines.slice(...found.lines).join('');
	const atEnd = (replaced?.lines[1] ?? lines.length) === lines.length;
	const kept =
		replaced === undefined ? (block?.kept ?? []) : lines.slice(...replaced.lines).map(withoutNewline);
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
			kept.map(line => `${KEPT}${line}\n`).join('') +
			`${after}${END} ${wanted.service}\n` +
			rest.join(''),
		before,
		after,
	};
}

/* Which lines are neither the block nor the service. Comments in the block go with it, unless other services stand there. */
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

		return !inBlock(number) || isActive(number) || (shared && !isOwnComment(line));
	});
}

/* Comments that register() writes. */
function isOwnComment(line: string): boolean {
	return [BEGIN, END, REMARK, KEPT].some(text => line.startsWith(text));
}

/* A line that continues a service in front of the block would continue ours. */
function checkContinuation(rest: readonly string[], lines: readonly string[], service: string): void {
	const [next] = rest.filter(line => !isIgnored(line));
	if (next !== undefined && isContinuation(next)) {
		throw new UsageError(
			`a line continues another service behind the block of ${service}/unix: move it:${numbered(lines, lines.indexOf(next))}`,
		);
	}
}

/* With a name of its own it would be served twice, and what was edited would be lost. */
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
			`service ${service}/unix is missing, and service ${title} runs this program: give it the old name again (postconf -F ${title}/service=${service}), or remove it:${numbered(lines, ...range(...other.lines), block.first, block.end - 1)}`,
		);
	}
}

function range(first: number, end: number): readonly number[] {
	return Array.from({length: end - first}, (_, index) => first + index);
}

function numbered(lines: readonly string[], ...numbers: readonly number[]): string {
	return numbers.map(number => `\n  ${number + 1}: ${withoutNewline(lines[number] ?? '')}`).join('');
}

/* Or another copy of it: the program of Postfix is in daemon_directory itself. */
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

/* Blank lines and comments are no part of any definition, wherever they stand. */
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

/* The eight columns can stand on more than one line. What is behind them is kept as it stands. */
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
				const behind = line.slice(column.index + column[0].length);
				const rest =
					(isIgnored(behind) && !behind.includes('#') ? '\n' : behind) +
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
			throw new UsageError(`${where} has another type than unix: choose another service name`);
		}

		if (/^n/i.test(entry.private)) {
			throw new UsageError(
				`${where} is not private, and clients look for private/${service}: choose another service name`,
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
			`the marker comments of service ${service}/unix are damaged: each must be there once, BEGIN in front of END:${numbered(lines, ...[...begins, ...ends].toSorted((a, b) => a - b))}`,
		);
	}

	const content = lines.slice(begin + 1, last).map(withoutNewline);
	return {
		first: begin,
		end: last + 1,
		kept: content.filter(line => line.startsWith(KEPT)).map(line => line.slice(KEPT.length)),
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
	/* Options can stand behind the end marker. */
	const rest = physicalLines(found?.rest ?? '\n')
		.filter(line => !isOwnComment(line))
		.join('');
	return `${wanted.service.padEnd(9)} ${columns.join(' ')} ${wanted.command}${rest.endsWith('\n') ? rest : `${rest}\n`}`;
}
