/*++
/* NAME
/*	units 3
/* SUMMARY
/*	branded numbers
/* DESCRIPTION
/*	Descriptors, seconds and milliseconds are all numbers. Branded
/*	types let the compiler distinguish them. A number is cast to its
/*	brand where it enters the program.
/*--*/

declare const brand: unique symbol;

/** A primitive type that is only assignable after an explicit cast. */
export type Brand<T, Name extends string> = T & {readonly [brand]: Name};

/** An open file descriptor of this process. */
export type Fd = Brand<number, 'Fd'>;
/** A duration in whole seconds: the unit of main.cf and of the attribute protocol. */
export type Seconds = Brand<number, 'Seconds'>;
/** A duration in milliseconds: the unit of timers. */
export type Milliseconds = Brand<number, 'Milliseconds'>;

/** Converts seconds to milliseconds. */
export function toMilliseconds(seconds: Seconds): Milliseconds {
	return (seconds * 1000) as Milliseconds;
}
