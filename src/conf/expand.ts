/*++
/* NAME
/*	expand 3
/* SUMMARY
/*	expand references in main.cf values
/* DESCRIPTION
/*	Replaces $name, ${name} and $(name) by the expanded value of the
/*	parameter, and evaluates conditional expressions:
/* .nf
/*
/*	${name?text}      ${name?{text}}     text if name is not empty
/*	${name:text}      ${name:{text}}     text if name is empty
/*	${name?{text}:{text}}                the first or second text
/*	${{text} OP {text}?{text}:{text}}    depends on a comparison
/*	$$                                   a $ character
/* .fi
/*
/*	OP is one of == != < <= >= >. It compares numbers if both operands
/*	are numbers, otherwise bytes. With the suffix "level", it compares
/*	compatibility levels. Functions are called as in
/*	${domain_to_ascii{text}}. They are defined by addNamedFunction().
/* DIAGNOSTICS
/*	ConfigurationError: bad syntax, or endless recursion. The cause
/*	of the error has the text that stock logs as a warning.
/* BUGS
/*	"level" is accepted in all releases; Postfix has it since 3.6.
/* SEE ALSO
/*	postfix src/util/mac_parse.c
/*	postfix src/util/mac_expand.c
/*--*/

import {ConfigurationError} from '../base/errors.ts';
import {compareLevels, parseLevel} from './compatibility-level.ts';

/** Returns the unexpanded value of a parameter, or `undefined` for an unknown parameter. */
export type Lookup = (name: string) => string | undefined;

/** A function that values can call. It returns undefined for a bad argument. */
export type NamedFunction = (text: string) => string | undefined;

const functions = new Map<string, NamedFunction>();

/** Defines a function. It must not be called for a release without functions. Source: mac_expand_add_named_fn(). */
export function addNamedFunction(name: string, run: NamedFunction): void {
	functions.set(name, run);
}

/**
 * Expands a value.
 *
 * @param text - the unexpanded value.
 * @param lookup - called for each name. An unknown name expands to nothing.
 * @throws {ConfigurationError} with the text of stock's fatal error; the `cause` has that of its warning.
 */
export function expand(text: string, lookup: Lookup): string {
	return expandText(text, lookup, 0);
}

function expandText(text: string, lookup: Lookup, depth: number): string {
	let expanded = '';
	let at = 0;
	for (;;) {
		const dollar = text.indexOf('$', at);
		if (dollar < 0) {
			return expanded + text.slice(at);
		}

		expanded += text.slice(at, dollar);
		if (text[dollar + 1] === '$') {
			expanded += '$';
			at = dollar + 2;
			continue;
		}

		const [expression, next] = expressionAt(text, dollar + 1);
		if (expression === '') {
			fail(`empty macro name: "${text}"`);
		}

		expanded += evaluate(expression, lookup, depth);
		at = next;
	}
}

/** The expression after a `$`: the text in parentheses or braces, or the name. */
function expressionAt(text: string, at: number): readonly [expression: string, next: number] {
	if (text[at] === '{' || text[at] === '(') {
		const end = closingOf(text, at);
		if (end === undefined) {
			fail(`truncated macro reference: "${text}"`);
		}

		return [text.slice(at + 1, end), end + 1];
	}

	bareName.lastIndex = at;
	const name = bareName.exec(text)?.[0] ?? '';
	return [name, at + name.length];
}

function evaluate(expression: string, lookup: Lookup, depth: number): string {
	/*
	 * Only this ends the expansion of a parameter that refers to itself. Postfix
	 * resets the depth inside the operands of a comparison, and crashes if a loop
	 * goes through one.
	 */
	if (depth > NESTING_LIMIT) {
		fail(`unreasonable macro call nesting: "${expression}"`);
	}

	const start = skipBlanks(expression, 0);
	let at: number;
	let value: string | undefined;
	if (expression[start] === '{') {
		[value, at] = compare(expression, start, lookup, depth);
	} else {
		bareName.lastIndex = start;
		const name = bareName.exec(expression)?.[0] ?? '';
		const nameEnd = start + name.length;
		at = skipBlanks(expression, nameEnd);
		switch (expression[at]) {
			case undefined:
			case '?':
			case ':':
				value = lookup(name);
				break;
			case '{':
				return functions.size === 0
					? fail(`attribute name syntax error at: ${mark(expression, nameEnd)}`)
					: call(name, expression, at, lookup, depth);
			default:
				fail(`attribute name syntax error at: ${mark(expression, nameEnd)}`);
		}
	}

	switch (expression[at]) {
		case undefined:
			return expandText(value ?? '', lookup, depth + 1);
		case '?':
		case ':':
			return choose(value !== undefined && value !== '', expression, at, lookup, depth);
		default:
			return fail(`"?" or ":" expected at: "...}>>>${expression.slice(at, at + 20)}"`);
	}
}

/** Evaluates the part of an expression from its `?` or `:`. Only the selected text is expanded. */
function choose(condition: boolean, expression: string, at: number, lookup: Lookup, depth: number): string {
	let chosen = '';
	let colon = at;
	if (expression[at] === '?') {
		const [text, next] = operandAt(expression, at + 1);
		chosen = condition ? expandText(text, lookup, depth + 1) : '';
		if (next === expression.length) {
			return chosen;
		}

		if (expression[next] !== ':') {
			fail(`":" expected at: "...${text}}>>>${expression.slice(next, next + 20)}"`);
		}

		colon = next;
	}

	const [text, next] = operandAt(expression, colon + 1);
	if (!condition) {
		chosen = expandText(text, lookup, depth + 1);
	}

	if (next !== expression.length) {
		fail(`unexpected input at: "...${text}}>>>${expression.slice(next, next + 20)}"`);
	}

	return chosen;
}

/** The text in braces, or everything up to the end of the expression. */
function operandAt(expression: string, at: number): readonly [text: string, next: number] {
	const brace = skipBlanks(expression, at);
	return expression[brace] === '{' ? payloadAt(expression, brace) : [expression.slice(at), expression.length];
}

/** The text in braces, and the position after the closing brace and white space. */
function payloadAt(expression: string, brace: number): readonly [text: string, next: number] {
	const end = closingOf(expression, brace);
	if (end === undefined) {
		fail(`unbalanced {} in attribute expression: "${expression.slice(brace)}"`);
	}

	return [expression.slice(brace + 1, end), skipBlanks(expression, end + 1)];
}

/** Evaluates `{left} OP {right}`: the value is `true` or empty. */
function compare(
	expression: string,
	start: number,
	lookup: Lookup,
	depth: number,
): readonly [value: string, next: number] {
	const [left, at] = payloadAt(expression, start);
	operatorSyntax.lastIndex = at;
	const [matched = '', name = '', suffix = ''] = operatorSyntax.exec(expression) ?? [];
	const operator = operators.get(name);
	if (operator === undefined) {
		fail(
			`${[...operators.keys()].map(known => `"${known}"`).join(' or ')} expected at: ` +
				`"...${left}}>>>${expression.slice(at, at + 20)}"`,
		);
	}

	if (suffix !== '' && suffix !== 'level') {
		fail(`bad operator suffix at: "...${name}>>>${suffix}"`);
	}

	const operatorEnd = at + matched.length;
	const brace = skipBlanks(expression, operatorEnd);
	if (expression[brace] !== '{') {
		fail(
			`"{expression}" expected at: "...{${left}} ${name}>>>${expression.slice(operatorEnd, operatorEnd + 20)}"`,
		);
	}

	const [right, next] = payloadAt(expression, brace);
	const order = (suffix === 'level' ? levelOrder : valueOrder)(
		expandText(left, lookup, depth + 1),
		expandText(right, lookup, depth + 1),
	);
	return [operator(order) ? 'true' : '', next];
}

function valueOrder(left: string, right: string): number {
	if (allDigits.test(left) && allDigits.test(right)) {
		const difference = BigInt(left) - BigInt(right);
		return difference < 0n ? -1 : Number(difference > 0n);
	}

	return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

function levelOrder(left: string, right: string): number {
	try {
		return compareLevels(parseLevel(left), parseLevel(right));
	} catch (error) {
		throw new ConfigurationError(FATAL, {cause: error});
	}
}

/** Calls a function: `name{text}`. */
function call(name: string, expression: string, brace: number, lookup: Lookup, depth: number): string {
	const [text, next] = payloadAt(expression, brace);
	const argument = text.trim();
	if (next !== expression.length) {
		fail(`unexpected input at: "...${argument}}>>>${expression.slice(next, next + 20)}"`);
	}

	const run = functions.get(name);
	if (run === undefined) {
		return fail(`unknown function "${name}" at "...>>>${name}{${argument}}"`);
	}

	const value = expandText(argument, lookup, depth + 1);
	return run(value) ?? fail(`bad domain argument in: '${name}{${value}}'`);
}

/** The position of the parenthesis or brace that closes the one at `at`, or `undefined`. */
function closingOf(text: string, at: number): number | undefined {
	const open = text[at];
	const close = open === '(' ? ')' : '}';
	let level = 0;
	for (let index = at; index < text.length; index++) {
		if (text[index] === open) {
			level++;
		} else if (text[index] === close && --level === 0) {
			return index;
		}
	}

	return undefined;
}

function skipBlanks(text: string, at: number): number {
	blanks.lastIndex = at;
	return at + (blanks.exec(text)?.[0].length ?? 0);
}

/** The text of an error position. */
function mark(text: string, at: number): string {
	return `"...${text.slice(0, at)}>>>${text.slice(at, at + 20)}"`;
}

function fail(warning: string): never {
	throw new ConfigurationError(FATAL, {cause: new ConfigurationError(warning)});
}

/* Depth of references in referenced values. */
const NESTING_LIMIT = 100;

const FATAL = 'dictionary mail_dict: macro processing error';

const bareName = /\w*/y;
const blanks = /[ \t\r\n]*/y;
const allDigits = /^\d+$/;
const operatorSyntax = /([<>!=?+\-*/~&|%]*)([a-zA-Z0-9]*)/y;

const operators: ReadonlyMap<string, (order: number) => boolean> = new Map([
	['==', (order: number) => order === 0],
	['!=', (order: number) => order !== 0],
	['<', (order: number) => order < 0],
	['<=', (order: number) => order <= 0],
	['>=', (order: number) => order >= 0],
	['>', (order: number) => order > 0],
]);
