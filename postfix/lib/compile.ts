/*++
/* NAME
/*	compile 3
/* SUMMARY
/*	compile the built program with V8
/* SYNOPSIS
/*	node FLAGS --hash-seed=N compile.ts program output
/* DESCRIPTION
/*	Writes the V8 code cache that load-compiled(3) passes to V8 together
/*	with the program. All functions are compiled, not only those that
/*	are called at start: compiling a function later costs more than
/*	reading its code.
/*
/*	V8 accepts the code cache only if it runs with the same flags. Two
/*	flags are needed here only, and are reset before V8 records them:
/*	--no-lazy, and the fixed hash seed, without which no two outputs
/*	would be equal.
/* DIAGNOSTICS
/*	Error: V8 rejects the code cache. Processes would start slowly, and
/*	nothing would report it.
/* SEE ALSO
/*	load-compiled(3), vm.Script
/*--*/

import {readFileSync, writeFileSync} from 'node:fs';
import {setFlagsFromString} from 'node:v8';
import {Script} from 'node:vm';

const [program = '', output = ''] = process.argv.slice(2);
const source = readFileSync(program, 'latin1');
/* The name becomes part of the output. A constant name keeps builds in different directories equal. */
const filename = 'program.js';

setFlagsFromString('--no-lazy');
const script = new Script(source, {filename});
setFlagsFromString('--lazy');
setFlagsFromString('--hash-seed=0');
const cachedData = script.createCachedData();
if (new Script(source, {filename, cachedData}).cachedDataRejected !== false) {
	throw new Error(`V8 rejects the code cache of ${program}`);
}

writeFileSync(output, cachedData);
