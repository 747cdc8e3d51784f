package promql

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	prom "github.com/prometheus/prometheus/promql"
)

// errorType is the errorType of an answer; clients tell errors apart by it.
type errorType string

const (
	errTimeout     errorType = "timeout"
	errCanceled    errorType = "canceled"
	errExec        errorType = "execution"
	errBadData     errorType = "bad_data"
	errInternal    errorType = "internal"
	errUnavailable errorType = "unavailable"
	errNotFound    errorType = "not_found"
)

const statusClientClosed = 499 // the client went away first; nginx's number

func (t errorType) status() int {
	switch t {
	case errBadData:
		return http.StatusBadRequest
	case errExec:
		return http.StatusUnprocessableEntity
	case errCanceled:
		return statusClientClosed
	case errTimeout, errUnavailable:
		return http.StatusServiceUnavailable
	case errNotFound:
		return http.StatusNotFound
	}
	return http.StatusInternalServerError
}

// apiError is an error with its type, and its status where that is not the type's own.
type apiError struct {
	typ  errorType
	err  error
	code int // 0: typ.status()
}

func (e *apiError) Error() string { return e.err.Error() }
func (e *apiError) Unwrap() error { return e.err }

func (e *apiError) status() int {
	if e.code != 0 {
		return e.code
	}
	return e.typ.status()
}

func badData(err error) error { return &apiError{typ: errBadData, err: err} }

func badParam(name string, err error) error {
	return badData(fmt.Errorf("invalid parameter %q: %w", name, err))
}

// classify gives an error of engine or storage the type that it has in an answer.
func classify(err error) *apiError {
	var (
		known       *apiError
		busy        busyError
		canceled    prom.ErrQueryCanceled
		timeout     prom.ErrQueryTimeout
		store       prom.ErrStorage
		unavailable interface{ Unavailable() bool }
	)
	// The engine's wrapper of storage errors does not unwrap: look inside.
	cause := err
	if errors.As(err, &store) {
		cause = store.Err
	}
	typ := errExec
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &canceled):
		typ = errCanceled
	case errors.As(err, &busy), errors.As(err, &timeout):
		typ = errTimeout
	case errors.As(cause, &unavailable) && unavailable.Unavailable():
		typ = errUnavailable
	case errors.Is(cause, context.Canceled):
		typ = errCanceled
	case errors.Is(cause, context.DeadlineExceeded):
		typ = errTimeout
	case store.Err != nil:
		typ = errInternal
	}
	return &apiError{typ: typ, err: err}
}

// unbuilt is the error of a query that the engine refused to build: the fault
// of the query, unless there was no time for it.
func unbuilt(err error) error {
	if e := classify(err); e.typ == errTimeout || e.typ == errCanceled {
		return e
	}
	return badParam("query", err)
}
