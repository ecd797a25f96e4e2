/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Delivery "call": a call of AcceptSocket for each connection, on the object that the client exports.
 *
 * The reply confirms the connection. An error that says that there is no such object, interface or method
 * ends the listener; any other error of the client closes the connection. A call has no timeout, but if one
 * is not answered for some seconds, this is reported once.
 */

typedef struct Delivery Delivery;
typedef struct DeliveryParameters DeliveryParameters;

int delivery_call_new(const DeliveryParameters *parameters, Delivery **ret);
