/*++
/* NAME
/*	master-cf 3
/* SUMMARY
/*	one service in the text of master.cf
/* DESCRIPTION
/*	register() puts a service into the text, unregister() takes it out
/*	again. Text in, text out; one character is one byte (latin1), so
/*	that whatever is in the file survives.
/*
/*	What register() adds stands between two marker comments. Lines that
/*	it replaces are kept there as comments, and a missing newline at the
/*	end of the file is noted. Therefore unregister() needs no other
/*	memory, and gives back every byte, also when other parts of the file
/*	were edited in between.
/*
/*	A block is added at the end of the file, or takes the place of the
/*	active line of the service. A commented-out line is never touched:
/*	it can stand between another service and its options, where nothing
/*	can be inserted.
/* DIAGNOSTICS
/*	Refusal: the text has something that cannot be replaced safely.
/* SEE ALSO
/*	master(5)
/*	postfix src/util/readlline.c, src/master/master_ent.c
/*--*/

/** Something that the administrator has to decide; nothing was changed. */
export class Refusal extends Error {
	override readonly name = 'Refusal';
}

/** An active service definition. */
export interface Entry {
	readonly name: string;
	readonly type: string;
	readonly private: string;
	readonly chroot: string;
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
	/** Process limit; without, what an earlier registration has, or `defaultLimit`. */
	readonly limit?: number;
	readonly defaultLimit: number;
}

/** What register() or unregister() did. */
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
const registrationBegin = new RegExp(`^${BEGIN} (\\S+)`);
const KEPT = '#was: ';
const NO_NEWLINE = '(the file had no newline at its end)';
const REMARK = '# Made by install, taken out again by uninstall. Options may be added below the service.';

/**
 * The service as active line, in a block of its own.
 *
 * @param text - master.cf.
 * @returns the new text; equal to the old one when there is nothing to do.
 * @throws {Refusal} when the name belongs to something else, or the file is damaged.
 */
export function register(text: string, wanted: Registration): Change {
	const lines = physicalLines(text);
	const block = findBlock(lines, wanted.service);
	const found = findService(lines, wanted.service);
	if (block !== undefined && found !== undefined && !inside(block, found)) {
		throw new Refusal(
			`service ${wanted.service}/unix in line ${found.lines[0] + 1} is outside of the block of this program: take out one of them`,
		);
	}

	const [first, end] =
		block === undefined ? (found?.lines ?? [lines.length, lines.length]) : [block.first, block.end];
	const before = found === undefined ? '' : lines.slice(...found.lines).join('');
	const atEnd = end === lines.length;
	const kept = block?.kept ?? lines.slice(first, end).map(withoutNewline);
	const noNewline = block?.noNewline ?? (atEnd && text !== '' && !text.endsWith('\n'));
	const limit = wanted.limit ?? (block === undefined ? undefined : found?.limit) ?? wanted.defaultLimit;
	const after = serviceLines(wanted, found, String(limit));
	const head = lines.slice(0, first).join('');
	return {
		text:
			(head === '' || head.endsWith('\n') ? head : `${head}\n`) +
			`${BEGIN} ${wanted.service}${noNewline ? ` ${NO_NEWLINE}` : ''}\n${REMARK}\n` +
			kept.map(line => `${KEPT}${line}\n`).join('') +
			`${after}${END} ${wanted.service}\n` +
			lines.slice(end).join(''),
		before,
		after,
	};
}

/**
 * Takes the block of a service out, and puts back what it replaced.
 *
 * @param text - master.cf.
 * @returns nothing when the service was not registered by us.
 * @throws {Refusal} when the block is damaged.
 */
export function unregister(text: string, service: string): Change | undefined {
	const lines = physicalLines(text);
	const block = findBlock(lines, service);
	if (block === undefined) {
		return undefined;
	}

	/* The end of the file is only what it was as long as nobody has added anything behind the block. */
	const atEnd = block.end === lines.length;
	const head = lines.slice(0, block.first).join('');
	const restored = block.kept.join('\n') + (block.kept.length > 0 && !(block.noNewline && atEnd) ? '\n' : '');
	const bare = block.noNewline && atEnd && block.kept.length === 0 ? withoutNewline(head) : head;
	return {
		text: bare + restored + lines.slice(block.end).join(''),
		before: entriesOf(lines)
			.filter(entry => inside(block, entry))
			.map(entry => lines.slice(...entry.lines).join(''))
			.join(''),
		after: restored,
	};
}

/** Names of the services that are registered by us, whatever program they run. */
export function registeredServices(text: string): readonly string[] {
	return physicalLines(text).flatMap(line => {
		const [, name] = registrationBegin.exec(line) ?? [];
		return name === undefined ? [] : [name];
	});
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
				const [name = '', type = '', isPrivate = '', , chroot = '', , limit = '', command = ''] = columns;
				const behind = line.slice(column.index + column[0].length);
				const rest =
					(isIgnored(behind) && !behind.includes('#') ? '\n' : behind) +
					lines.slice(number + 1, end).join('');
				return {name, type, private: isPrivate, chroot, limit, command, lines: [first, end], rest};
			}
		}
	}

	return undefined;
}

function findService(lines: readonly string[], service: string): Entry | undefined {
	const named = entriesOf(lines).filter(entry => entry.name === service);
	for (const entry of named) {
		const where = `service ${service}/${entry.type} in line ${entry.lines[0] + 1}`;
		if (entry.type !== 'unix') {
			throw new Refusal(`${where} has another type than unix: choose another service name`);
		}

		if (/^n/i.test(entry.private)) {
			throw new Refusal(
				`${where} is not private, and clients look for private/${service}: choose another service name`,
			);
		}

		if (entry.command !== 'tlsproxy' && !entry.command.endsWith('/tlsproxy')) {
			throw new Refusal(`${where} runs ${entry.command}, not tlsproxy: choose another service name`);
		}
	}

	const [found, second] = named;
	if (second !== undefined) {
		throw new Refusal(
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
		throw new Refusal(
			`the block "${BEGIN} ${service}" to "${END} ${service}" is damaged: repair it, or take it out by hand`,
		);
	}

	/* Behind the end marker they would still be options of our service now, and of its neighbour later. */
	if (isContinuation(lines.slice(last + 1).find(line => !isIgnored(line)) ?? '')) {
		throw new Refusal(`lines behind "${END} ${service}" continue the service: move them before that line`);
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

function inside(block: Block, entry: Entry): boolean {
	return entry.lines[0] >= block.first && entry.lines[1] <= block.end;
}

function serviceLines(wanted: Registration, found: Entry | undefined, limit: string): string {
	const columns = ['unix', '-', '-', wanted.chroot ?? found?.chroot ?? 'n', '-', limit].map(column =>
		column.padEnd(7),
	);
	const rest = found?.rest ?? '\n';
	return `${wanted.service.padEnd(9)} ${columns.join(' ')} ${wanted.command}${rest.endsWith('\n') ? rest : `${rest}\n`}`;
}
