/*++
/* NAME
/*	compile 3
/* SUMMARY
/*	has V8 compile the built program
/* SYNOPSIS
/*	node FLAGS --hash-seed=N compile.ts program output
/* DESCRIPTION
/*	Writes what load-compiled(3) gives to V8 together with the program. All
/*	functions are compiled, not only those that are called at once: to
/*	compile one later costs more than to read it now.
/*
/*	V8 takes the output only where it runs with the same flags. Those
/*	that are needed here and not there are taken back before it looks
/*	at them: the order in which the compiler does its work, and the
/*	seed of hash tables, without which no two outputs are the same.
/* DIAGNOSTICS
/*	Error: V8 does not take what it has made. Then a process would
/*	start slowly, and nobody would know.
/* SEE ALSO
/*	load-compiled(3), vm.Script
/*--*/

import {readFileSync, writeFileSync} from 'node:fs';
import {setFlagsFromString} from 'node:v8';
import {Script} from 'node:vm';

const [program = '', output = ''] = process.argv.slice(2);
const source = readFileSync(program, 'latin1');
/* It becomes a part of the output: the same wherever that is made. */
const filename = 'program.js';

setFlagsFromString('--no-lazy');
const script = new Script(source, {filename});
setFlagsFromString('--lazy');
setFlagsFromString('--hash-seed=0');
const cachedData = script.createCachedData();
if (new Script(source, {filename, cachedData}).cachedDataRejected !== false) {
	throw new Error(`V8 does not take what it has made of ${program}`);
}

writeFileSync(output, cachedData);
