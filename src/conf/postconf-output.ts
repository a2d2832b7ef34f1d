/*++
/* NAME
/*	postconf-output 3
/* SUMMARY
/*	parse the output of postconf(1)
/* DESCRIPTION
/*	valuesIn() parses lines of the form "name = value", which
/*	postconf(1) prints for parameters, and "postconf -P" for the
/*	settings of services. tablesIn() parses a value that is a list of
/*	lookup tables.
/*
/*	parsePostconfOutput() parses the output of prefetch-config.sh. The
/*	supervisor runs this script while Node.js starts, so that the
/*	configuration is that of the moment at which master(8) started
/*	this process. The script prints all parameters, then the output of
/*	"postconf -M" and of "postconf -P". A null byte follows the output
/*	of each command that succeeded. If one is missing, nothing is
/*	used: the process runs the commands again, and so logs the error.
/* SEE ALSO
/*	postconf(3), services(3), boot/prefetch-config.sh
/*--*/

/** The contents of master.cf, as lines. */
export interface MasterFile {
	/** The output of `postconf -M`: a line per service. */
	readonly services: readonly string[];
	/** The output of `postconf -P`: a line per setting of a service, `service/type/name = value`. */
	readonly settings: readonly string[];
}

/** The configuration, as lines. */
export interface PostconfOutput {
	/** A line per parameter, `name = value`. */
	readonly parameters: readonly string[];
	readonly master: MasterFile;
}

/** Names and values in lines of the form `name = value`. Other lines are ignored. */
export function valuesIn(lines: readonly string[]): Map<string, string> {
	const values = new Map<string, string>();
	for (const line of lines) {
		/* The blank after the equals sign is missing if the value is empty. */
		const end = line.indexOf(' =');
		if (end > 0) {
			values.set(line.slice(0, end), line.slice(end + 3));
		}
	}

	return values;
}

/** The tables of a list. Separators are commas and white space outside of braces. */
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

/** Parses the output of prefetch-config.sh. Returns undefined if it is incomplete. */
export function parsePostconfOutput(text: string): PostconfOutput | undefined {
	const [parameters, services, settings, ...end] = text.split('\0');
	if (
		parameters === undefined ||
		services === undefined ||
		settings === undefined ||
		end.length !== 1 ||
		end[0] !== ''
	) {
		return undefined;
	}

	return {
		parameters: linesIn(parameters),
		master: {services: linesIn(services), settings: linesIn(settings)},
	};
}

function linesIn(text: string): readonly string[] {
	return text.split('\n').filter(line => line !== '');
}
