// Package storetest is what every store of the chat pipeline has to pass: a
// suite of cases, and schedules of random operations over a day of virtual time
// that are compared with a deliberately simple model.
package storetest
